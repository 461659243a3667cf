"""Updates on disk as they come: an (n, d) float32 matrix that need not fit in memory.

Rows are written in any order and read back in the clients' order, in column blocks,
by whatever rule is at work.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from fedsafe.contracts import Updates
from fedsafe.lazy import torch
from server.flat import blocks, flat
from server.messages import Tensors
from server.replies import Reply


class Spool:
    """A file-backed matrix with one row for each client that may answer."""

    def __init__(self, path: Path, rows: int, columns: int) -> None:
        self._path = path
        self._matrix = np.memmap(path, np.float32, "w+", shape=(rows, columns))
        self.accepted: dict[int, tuple[int, Reply]] = {}
        """Position in the cohort to (client, reply without its update)."""

    def __enter__(self) -> Self:
        """Use the spool for one round."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the file."""
        del self._matrix
        self._path.unlink(missing_ok=True)

    def put(self, position: int, client: int, reply: Reply) -> None:
        """Write one accepted update to its row, and let go of it in memory."""
        self._matrix[position] = reply.update
        empty = np.empty(0, np.float32)
        slim = Reply(empty, reply.norm, reply.bytes, reply.examples, reply.claims)
        self.accepted[position] = (client, slim)

    def updates(
        self, number: int, adapter: Tensors, weighting: str, root: "torch.Tensor | None" = None
    ) -> Updates:
        """Return the accepted rows in the order of the cohort.

        Args:
            number: The round.
            adapter: What the clients were sent.
            weighting: ``equal``, or ``examples`` for the clients' own counts, none above
                ten times their median.
            root: The server's own update (d,), if it made one.
        """
        self._compact()
        positions = sorted(self.accepted)
        matrix = torch.from_numpy(self._matrix[: len(positions)])
        counts = np.ones(len(positions))
        if weighting == "examples":
            counts = np.array([float(self.accepted[p][1].examples) for p in positions])
            counts = np.minimum(counts, 10 * np.median(counts))
        return Updates(
            matrix=matrix,
            weights=torch.from_numpy((counts / counts.sum()).astype(np.float32)),
            blocks=blocks(adapter),
            round=number,
            clients=tuple(str(self.accepted[p][0]) for p in positions),
            model=flat(adapter),
            root=root,
        )

    def _compact(self) -> None:
        """Move the accepted rows to the front, in place."""
        for row, position in enumerate(sorted(self.accepted)):
            if row != position:
                self._matrix[row] = self._matrix[position]
                self.accepted[row] = self.accepted.pop(position)

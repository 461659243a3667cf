"""Updates on disk as they come: an (n, d) float32 matrix that need not fit in memory.

Rows are written in any order and read back in the clients' order, in column blocks,
by whatever rule is at work. What was written or read is let go of, so the memory of
the process stays small whatever the size of the file.
"""

import mmap
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from fedsafe.contracts import Updates
from fedsafe.lazy import torch
from server.flat import blocks, flat
from server.messages import Tensors
from server.replies import Reply
from strategies.sweep import after_blocks

RESIDENT = 2**28
"""Bytes of the file that a reader may have touched before they are let go of."""


class Spool:
    """A file-backed matrix with one row for each client that may answer."""

    def __init__(self, path: Path, rows: int, columns: int) -> None:
        self._path = path
        with path.open("w+b") as file:
            file.truncate(rows * columns * 4)
            self._map = mmap.mmap(file.fileno(), rows * columns * 4)
        self._matrix = np.frombuffer(self._map, np.float32).reshape(rows, columns)
        self._touched = 0
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
        del self._matrix, self._map
        self._path.unlink(missing_ok=True)

    def put(self, position: int, client: int, reply: Reply) -> None:
        """Write one accepted update to its row, and let go of it in memory."""
        self._matrix[position] = reply.update
        self._let_go()
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

    def reading(self) -> AbstractContextManager[None]:
        """Return the context in which a rule reads the rows block by block."""
        return after_blocks(self._read)

    def _read(self, elements: int) -> None:
        self._touched += 4 * elements
        if self._touched >= RESIDENT:
            self._let_go()

    def _let_go(self) -> None:
        """Unmap what is in memory; it stays in the file, and in the system's cache."""
        self._map.madvise(mmap.MADV_DONTNEED)
        self._touched = 0

    def _compact(self) -> None:
        """Move the accepted rows to the front, in place."""
        for row, position in enumerate(sorted(self.accepted)):
            if row != position:
                self._matrix[row] = self._matrix[position]
                self._let_go()
                self.accepted[row] = self.accepted.pop(position)

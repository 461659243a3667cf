"""Store a round's updates on disk: a memory-mapped (n, d) float32 matrix.

Rows are written in any order and read back in the clients' order, in column blocks,
by whatever rule is at work. What was written or read is let go of, so the memory of
the process stays small whatever the size of the file.
"""

import mmap
import os
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fedsafe.contracts import Updates
from fedsafe.errors import RunError
from fedsafe.lazy import torch
from fedsafe.runs.files import private
from fedsafe.weights.vectorize import blocks, flat
from server.transport.train_messages import Tensors, shapes
from server.validation import Reply
from strategies.kernels.blockwise import AROUND, after_blocks
from strategies.sample_weights import weights_of

RESIDENT = 2**28
"""Bytes of the file that a reader may have touched before they are let go of."""
PIECE = 4 * AROUND
"""Bytes written at once. Linux keeps a file in the units it was written in, up to 2 MB,
and maps a whole unit where one byte of it is read: two hundred megabytes for one value of
each of a hundred rows."""


class UpdateStore:
    """Memory-mapped matrix with one row for each client of the cohort."""

    def __init__(self, path: Path, rows: int, columns: int) -> None:
        self._path = path
        self._file = os.fdopen(
            private(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), "r+b", buffering=0
        )
        self._file.truncate(rows * columns * 4)
        self._map = mmap.mmap(self._file.fileno(), rows * columns * 4)
        self._matrix = np.frombuffer(self._map, np.float32).reshape(rows, columns)
        self._touched = 0
        self.accepted: dict[int, tuple[int, Reply]] = {}
        """Position in the cohort to (client, reply without its update)."""

    def __enter__(self) -> Self:
        """Open the store for one round."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the file."""
        del self._matrix, self._map
        self._file.close()
        self._path.unlink(missing_ok=True)

    def put(self, position: int, client: int, reply: Reply) -> None:
        """Write one accepted update to its row.

        Raises:
            RunError: The disk is full or cannot be written to.
        """
        self._write(position, reply.update)
        empty = np.empty(0, np.float32)
        slim = replace(reply, update=empty)
        self.accepted[position] = (client, slim)

    def updates(
        self, number: int, adapter: Tensors, weighting: str, root: "torch.Tensor | None" = None
    ) -> Updates:
        """Return the accepted rows in the order of the cohort.

        Args:
            number: The round.
            adapter: What the clients were sent.
            weighting: ``equal``, or ``examples`` for the clients' own counts, none above
                ten times their median (`strategies.sample_weights`).
            root: The server's own update (d,), if it made one.
        """
        self._compact()
        positions = sorted(self.accepted)
        matrix = torch.from_numpy(self._matrix[: len(positions)])
        examples = [float(self.accepted[p][1].examples) for p in positions]
        weights = weights_of(examples if weighting == "examples" else [1.0] * len(positions))
        return Updates(
            matrix=matrix,
            weights=torch.tensor(weights, dtype=torch.float32),
            blocks=blocks(adapter),
            round=number,
            clients=tuple(str(self.accepted[p][0]) for p in positions),
            model=flat(adapter),
            root=root,
            shapes=shapes(adapter),
        )

    def replace(self, row: int, update: "torch.Tensor") -> None:
        """Put another update (d,) in the place of an accepted row, as `updates` counts them.

        Raises:
            RunError: The disk is full or cannot be written to.
        """
        self._write(row, update.numpy())
        self._let_go()
        client, reply = self.accepted[sorted(self.accepted)[row]]
        norm = float(update.double().norm())
        slim = Reply(reply.update, norm, reply.bytes, reply.examples, reply.claims)
        self.accepted[sorted(self.accepted)[row]] = (client, slim)

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

    def _write(self, row: int, update: "np.ndarray[Any, np.dtype[np.float32]]") -> None:
        """Write a row; not through the map, where a full disk would kill the process."""
        values = np.ascontiguousarray(update, np.float32).data.cast("B")
        start = row * values.nbytes
        try:
            for begin in range(0, values.nbytes, PIECE):
                place, piece = start + begin, values[begin : begin + PIECE]
                while piece:  # a disk that fills up takes a part, and then raises
                    written = os.pwrite(self._file.fileno(), piece, place)
                    place, piece = place + written, piece[written:]
        except OSError as error:
            raise RunError(
                f"Update of {values.nbytes} bytes could not be kept in '{self._path}': "
                f"{error.strerror}. A round needs {len(self._map)} bytes there. Make room, or "
                "choose another output directory; `fedsafe resume` goes on from the last round."
            ) from None

    def _compact(self) -> None:
        """Move the accepted rows to the front, in place."""
        for row, position in enumerate(sorted(self.accepted)):
            if row != position:
                self._write(row, self._matrix[position])
                self._let_go()
                self.accepted[row] = self.accepted.pop(position)

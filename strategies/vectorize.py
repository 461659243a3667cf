"""Layout: named arrays as one flat vector, and updates checked against it.

Knows nothing of messages or rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Layout:
    """The arrays that the clients were sent, and where each lies in the flat vector.

    Attributes:
        arrays: All of them; those that are not floating-point are never changed.
        blocks: Name to columns, of the floating-point ones.
        flat: float32 (d,), the floating-point ones.
    """

    arrays: "Arrays"
    blocks: Mapping[str, slice]
    flat: "np.ndarray[Any, Any]"

    @classmethod
    def of(cls, arrays: "Arrays") -> "Layout":
        """Return the layout of some arrays."""
        import numpy as np

        blocks: dict[str, slice] = {}
        parts: list[np.ndarray[Any, Any]] = [np.empty(0, np.float32)]
        start = 0
        for name, array in arrays.items():
            if array.dtype.kind == "f":
                blocks[name] = slice(start, start + array.size)
                parts.append(array.astype(np.float32).ravel())
                start += array.size
        return cls(arrays, blocks, np.concatenate(parts))

    def delta(self, reply: "Arrays") -> "np.ndarray[Any, Any]":
        """Return how a reply differs from what was sent, float32 (d,).

        Raises:
            ValueError: Its names, shapes, types or values do not fit.
        """
        import numpy as np

        if reply.keys() != self.arrays.keys():
            missing, extra = self.arrays.keys() - reply.keys(), reply.keys() - self.arrays.keys()
            raise ValueError(f"missing {sorted(missing)[:3]}, unexpected {sorted(extra)[:3]}")
        row = np.empty_like(self.flat)
        for name, sent in self.arrays.items():
            got = reply[name]
            if got.shape != sent.shape or got.dtype != sent.dtype:
                raise ValueError(
                    f"'{name}' is {got.dtype} {got.shape}, expected {sent.dtype} {sent.shape}"
                )
            if name in self.blocks:
                row[self.blocks[name]] = got.ravel()
        row -= self.flat
        if not np.isfinite(row).all():
            raise ValueError("holds NaN or infinity")
        return row

    def moved(self, update: "np.ndarray[Any, Any]") -> dict[str, "np.ndarray[Any, Any]"]:
        """Return the arrays with an update added, in their own types and shapes."""
        flat = self.flat + update
        return {
            name: flat[self.blocks[name]].reshape(sent.shape).astype(sent.dtype)
            if name in self.blocks
            else sent
            for name, sent in self.arrays.items()
        }

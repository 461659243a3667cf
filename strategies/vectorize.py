"""Named NumPy arrays as one flat vector, and replies checked against what was sent.

Knows nothing of messages or rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fedsafe.lazy import torch
from fedsafe.weights import vectorize
from strategies.screening import MAX_NORM, update_norm

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Layout:
    """The arrays that the clients were sent, and where each lies in the flat vector.

    Attributes:
        arrays: All of them; those that are not floating-point are never changed.
    """

    arrays: "Arrays"

    @classmethod
    def of(cls, arrays: "Arrays") -> "Layout":
        """Return the layout of some arrays."""
        return cls(arrays)

    @cached_property
    def blocks(self) -> Mapping[str, slice]:
        """Name to columns, of the floating-point arrays."""
        return vectorize.blocks(self._floating)

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name to shape, of the same arrays."""
        return {name: tuple(tensor.shape) for name, tensor in self._floating.items()}

    @cached_property
    def flat(self) -> "np.ndarray[Any, Any]":
        """The floating-point arrays as one vector, float32 (d,)."""
        return vectorize.flat(self._floating).numpy()

    @cached_property
    def _floating(self) -> "dict[str, Tensor]":
        return _tensors({name: a for name, a in self.arrays.items() if a.dtype.kind == "f"})

    def delta(self, reply: "Arrays", max_norm: float = MAX_NORM) -> "np.ndarray[Any, Any]":
        """Return how a reply differs from what was sent, float32 (d,).

        Raises:
            ValueError: Its names, shapes, types or values do not fit, or it is longer (L2)
                than ``max_norm``.
        """
        if reply.keys() != self.arrays.keys():
            missing, extra = self.arrays.keys() - reply.keys(), reply.keys() - self.arrays.keys()
            raise ValueError(f"missing {sorted(missing)[:3]}, unexpected {sorted(extra)[:3]}")
        for name, sent in self.arrays.items():
            got = reply[name]
            if got.shape != sent.shape or got.dtype != sent.dtype:
                raise ValueError(
                    f"'{name}' is {got.dtype} {got.shape}, expected {sent.dtype} {sent.shape}"
                )
        row = vectorize.flat(_tensors({name: reply[name] for name in self.blocks})).numpy()
        update: np.ndarray[Any, Any] = row - self.flat
        update_norm(update, max_norm)
        return update

    def moved(self, update: "np.ndarray[Any, Any]") -> dict[str, "np.ndarray[Any, Any]"]:
        """Return the arrays with an update (d,) added, in their own types and shapes."""
        changed = vectorize.moved(self._floating, torch.as_tensor(update))
        return {
            name: changed[name].numpy().astype(sent.dtype) if name in changed else sent
            for name, sent in self.arrays.items()
        }


def _tensors(arrays: "Arrays") -> "dict[str, Tensor]":
    """Return arrays as tensors that share their memory where they can."""
    import numpy as np

    # what a message holds may be read-only, which torch only warns of: nothing is written here
    return {
        name: torch.from_numpy(np.require(a, requirements=["C", "W"])) for name, a in arrays.items()
    }

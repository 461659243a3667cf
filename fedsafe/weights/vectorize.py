"""Named tensors as one flat float32 vector, and back; the order is that of the names.

`torch.nn.utils.parameters_to_vector` for mappings, with the columns of each name. Knows
nothing of models or messages.
"""

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from fedsafe.lazy import torch

if TYPE_CHECKING:
    Tensors = Mapping[str, "torch.Tensor"]


def blocks(tensors: "Tensors") -> dict[str, slice]:
    """Return the columns of each tensor in the flat vector."""
    ends = accumulate((tensor.numel() for tensor in tensors.values()), initial=0)
    return {name: slice(*columns) for name, columns in zip(tensors, pairwise(ends), strict=True)}


def moved(tensors: "Tensors", update: "torch.Tensor") -> "dict[str, torch.Tensor]":
    """Return the tensors plus a flat update (d,), in their own shapes."""
    return {
        name: tensors[name] + update[part].view_as(tensors[name])
        for name, part in blocks(tensors).items()
    }


def flat(tensors: "Tensors") -> "torch.Tensor":
    """Return the tensors as one float32 vector (d,); empty where there are none."""
    parts = [tensor.flatten().float() for tensor in tensors.values()]
    return torch.cat(parts) if parts else torch.empty(0)

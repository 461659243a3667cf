"""An adapter as one flat vector, and back; the order is that of its names."""

from collections.abc import Mapping
from itertools import accumulate

from fedsafe.lazy import torch
from fedsafe.models.adapters import Tensors


def blocks(adapter: Mapping[str, "torch.Tensor"]) -> dict[str, slice]:
    """Return the columns of each tensor in the flat vector."""
    ends = list(accumulate(tensor.numel() for tensor in adapter.values()))
    begins = [0, *ends[:-1]]
    return {name: slice(b, e) for name, b, e in zip(adapter, begins, ends, strict=True)}


def moved(adapter: Mapping[str, "torch.Tensor"], update: "torch.Tensor") -> Tensors:
    """Return the adapter plus a flat update."""
    return {
        name: adapter[name] + update[part].view_as(adapter[name])
        for name, part in blocks(adapter).items()
    }


def flat(adapter: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
    """Return the adapter as a float32 vector (d,)."""
    return torch.cat([tensor.flatten().float() for tensor in adapter.values()])

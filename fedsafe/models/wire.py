"""Adapters on the wire: how tensors become arrays of a message, and back.

``float32`` sends the trained adapter as it is. Knows nothing of Flower.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fedsafe.lazy import torch
from fedsafe.models.adapters import Tensors

Wire = Literal["float32", "bfloat16", "int8"]
Arrays = dict[str, "np.ndarray[Any, Any]"]


def pack_adapter(wire: Wire, adapter: Mapping[str, "torch.Tensor"]) -> Arrays:
    """Return what the server sends of an adapter."""
    return {name: tensor.numpy() for name, tensor in adapter.items()}


def unpack_adapter(wire: Wire, arrays: Mapping[str, "np.ndarray[Any, Any]"]) -> Tensors:
    """Return the float32 adapter that a client was sent."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def pack_update(
    wire: Wire,
    sent: Mapping[str, "torch.Tensor"],
    trained: Mapping[str, "torch.Tensor"],
    residual: Mapping[str, "torch.Tensor"] | None,
) -> tuple[Arrays, Tensors | None]:
    """Return what a client sends back, and the rounding error to add next time, if any.

    Args:
        wire: The format.
        sent: Float32 adapter that the client was sent, as it unpacked it.
        trained: Float32 adapter after training.
        residual: What the last call for this client returned; None at first.
    """
    return {name: tensor.numpy() for name, tensor in trained.items()}, None

"""Adapters on the wire: how tensors become arrays of a message, and back.

===========  ===========================  ============================================
format       server to client             client to server
===========  ===========================  ============================================
float32      the adapter                  the trained adapter
bfloat16     the adapter, rounded         the *update*, rounded
int8         the adapter in bfloat16      the *update* in int8, with float32 scales
===========  ===========================  ============================================

Only trained tensors travel. The two short formats send the update and not the trained
adapter: bfloat16 keeps eight bits of a number, so that a step below a 512th of a weight
would be rounded away in the weight, and not in the step. The server keeps its own
adapter in float32. bfloat16 travels as its bits in uint16, which Flower's arrays take.
Rounding is to the nearest, ties to even. Knows nothing of Flower.

int8 has one scale for each of the rank's components, which is a row of A and a column
of B: the longer side of a matrix shares one. Its rounding error is kept by the client
and added to its next update. Seide et al., *1-Bit Stochastic Gradient Descent*,
Interspeech 2014; Karimireddy et al., *Error Feedback Fixes SignSGD*, ICML 2019.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fedsafe.errors import ModelError
from fedsafe.lazy import torch
from fedsafe.models.adapters import Tensors, check

Wire = Literal["float32", "bfloat16", "int8"]
Arrays = dict[str, "np.ndarray[Any, Any]"]
Shape = tuple[int, ...]

SCALE = "/scale"
"""End of the name under which a tensor's scales travel."""
LEVELS = 127
"""Largest step of int8; -128 is not used, so that rounding is the same on both sides."""
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Smaller scales are not exact: what they would carry stays with the client."""


def pack_adapter(wire: Wire, adapter: Mapping[str, "torch.Tensor"]) -> Arrays:
    """Return what the server sends of a float32 adapter.

    Raises:
        ModelError: A number is not finite, or too large for bfloat16.
    """
    if wire == "float32":
        return {name: tensor.numpy() for name, tensor in adapter.items()}
    return {name: _bits(name, tensor) for name, tensor in adapter.items()}


def unpack_adapter(wire: Wire, arrays: Mapping[str, "np.ndarray[Any, Any]"]) -> Tensors:
    """Return the float32 adapter that a client was sent."""
    if wire == "float32":
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    return {name: torch.from_numpy(_widened(array)) for name, array in arrays.items()}


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

    Raises:
        ModelError: The update is not finite or too large for the format, or names and
            shapes differ.
    """
    if wire == "float32":
        return {name: tensor.numpy() for name, tensor in trained.items()}, None
    shapes = {name: tuple(tensor.shape) for name, tensor in sent.items()}
    for tensors in (trained, residual or sent):
        check(tensors, shapes)
    if wire == "bfloat16":
        return {name: _bits(name, trained[name] - sent[name]) for name in sent}, None
    arrays: Arrays = {}
    left: Tensors = {}
    for name in sent:
        update = trained[name] - sent[name]
        if residual is not None:
            update = update + residual[name]
        steps, scales, error = _quantised(name, update)
        arrays |= {name: steps, name + SCALE: scales}
        left[name] = error
    return arrays, left


def downlink(wire: Wire, shapes: Mapping[str, Shape]) -> dict[str, tuple[str, Shape]]:
    """Return (dtype, shape) of each array that the server sends, by name, in order."""
    dtype = "float32" if wire == "float32" else "uint16"
    return {name: (dtype, shape) for name, shape in shapes.items()}


def uplink(wire: Wire, shapes: Mapping[str, Shape]) -> dict[str, tuple[str, Shape]]:
    """Return (dtype, shape) of each array that a client sends back, by name, in order."""
    if wire == "int8":
        both = (
            {name: ("int8", shape), name + SCALE: ("float32", scale_shape(shape))}
            for name, shape in shapes.items()
        )
        return {name: found for pair in both for name, found in pair.items()}
    dtype = {"float32": "float32", "bfloat16": "uint16"}[wire]
    return {name: (dtype, shape) for name, shape in shapes.items()}


def restore(
    wire: Wire,
    name: str,
    received: Mapping[str, "np.ndarray[Any, Any]"],
    sent: "np.ndarray[Any, np.dtype[np.float32]] | None",
    out: "np.ndarray[Any, np.dtype[np.float32]]",
) -> None:
    """Write one tensor's update into ``out``; nothing of its size is allocated.

    Args:
        wire: The format.
        name: Of the tensor.
        received: What the client sent back, as `uplink` has it.
        sent: What the client was sent, in its shape; used by ``float32`` alone.
        out: Float32, contiguous, in the tensor's shape.
    """
    with np.errstate(all="ignore"):  # what is not finite is for the caller to find
        if wire == "float32":
            assert sent is not None
            np.subtract(received[name], sent, out=out)
        elif wire == "bfloat16":
            bits = out.view(np.uint32)
            bits[...] = received[name]
            bits <<= 16
        else:
            np.multiply(received[name], received[name + SCALE], out=out)


def scale_shape(shape: Shape) -> Shape:
    """Return the shape of a tensor's scales, which spreads over it.

    The longer side of a matrix shares a scale; a tensor of another kind has one.
    """
    if len(shape) != 2:
        return (1,) * len(shape)
    rows, columns = shape
    return (rows, 1) if rows <= columns else (1, columns)


def _bits(name: str, tensor: "torch.Tensor") -> "np.ndarray[Any, Any]":
    """Return a float32 tensor as bfloat16 bits."""
    rounded = tensor.detach().to("cpu", torch.bfloat16).contiguous()
    if not bool(torch.isfinite(rounded).all()):
        raise _unfit(name, tensor, "bfloat16")
    return rounded.view(torch.int16).numpy().view(np.uint16)


def _widened(bits: "np.ndarray[Any, Any]") -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return bfloat16 bits as float32."""
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def _quantised(
    name: str, update: "torch.Tensor"
) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]", "torch.Tensor"]:
    """Return an update's steps (int8), scales (float32) and rounding error (float32)."""
    values = update.detach().to("cpu", torch.float32).contiguous().numpy()
    shape = scale_shape(values.shape)
    shared = tuple(axis for axis, size in enumerate(shape) if size == 1)
    largest = np.asarray(np.abs(values).max(axis=shared, keepdims=True, initial=0.0))
    if not np.isfinite(largest).all():
        raise _unfit(name, update, "int8")
    scales = np.asarray(largest / np.float32(LEVELS))
    scales[scales < SMALLEST_SCALE] = 0.0
    spread = np.where(scales > 0, scales, np.float32(1))
    steps = np.rint(values / spread).clip(-LEVELS, LEVELS)
    steps *= scales > 0
    error = values - steps * scales
    return steps.astype(np.int8), scales, torch.from_numpy(error)


def _unfit(name: str, tensor: "torch.Tensor", wire: str) -> ModelError:
    largest = float(tensor.detach().abs().nan_to_num(nan=float("inf")).max())
    return ModelError(
        f"Tensor {name} cannot travel as {wire}: it holds NaN, infinity or a number too large for "
        f"it (largest {largest:.3g}). Training may have diverged: lower training.learning_rate, or "
        "set federation.wire: float32."
    )

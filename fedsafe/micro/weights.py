"""How a base's weights lie in its JSON file: one byte a weight, a scale a row.

Matrices are rounded to 8-bit integers with a bfloat16 scale for each row, vectors to bfloat16;
both are exact float32 numbers, so that every machine writes the same bytes. Needs no torch to
read.
"""

import base64
import hashlib
import json
import sys
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LEVELS = 127
Packed = Mapping[str, Any]
"""A tensor: ``shape``, and ``bf16`` or ``int8`` with ``scales``, all in base 64."""


def packed(weight: "torch.Tensor") -> dict[str, Any]:
    """Round a tensor and put it into JSON values."""
    import torch

    weight = weight.detach()
    if weight.ndim != 2:
        return {"shape": list(weight.shape), "bf16": _text(_bf16_bytes(weight))}
    scales = (weight.abs().amax(1) / LEVELS).clamp_min(1e-8).bfloat16()
    levels = (weight / scales.float()[:, None]).round().clamp(-LEVELS, LEVELS).to(torch.int8)
    return {
        "shape": list(weight.shape),
        "int8": _text(levels.contiguous().numpy().tobytes()),
        "scales": _text(_bf16_bytes(scales)),
    }


def unpacked(tensor: Packed) -> "torch.Tensor":
    """Return the float32 tensor that was packed, rounded."""
    import torch

    return torch.frombuffer(bytearray(float32(tensor)), dtype=torch.float32).reshape(
        tensor["shape"]
    )


def float32(tensor: Packed) -> bytes:
    """Return the little-endian float32 numbers of a packed tensor."""
    if "bf16" in tensor:
        return _widened(base64.b64decode(tensor["bf16"]))
    levels = array("b", base64.b64decode(tensor["int8"]))
    scales = array("f", _widened(base64.b64decode(tensor["scales"])))
    if sys.byteorder == "big":
        scales.byteswap()
    width = len(levels) // len(scales)
    found = array("f", (level * scales[i // width] for i, level in enumerate(levels)))
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()


def digest(tensors: Mapping[str, Packed]) -> str:
    """Return the sha256 of packed tensors."""
    text = json.dumps(tensors, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bf16_bytes(weight: "torch.Tensor") -> bytes:
    import torch

    bits = weight.bfloat16().contiguous().view(torch.uint16).numpy()
    return bytes(bits.astype("<u2").tobytes())


def _widened(bits: bytes) -> bytes:
    """Turn little-endian bfloat16 into little-endian float32: two zero bytes in front."""
    wide = bytearray(2 * len(bits))
    wide[2::4], wide[3::4] = bits[0::2], bits[1::2]
    return bytes(wide)

"""The border: a reply is hostile until it has been screened.

A reply that fails any check is dropped with the reason, and the run goes on. Knows
nothing of how updates are combined.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord

from fedsafe.messages import ARRAYS, METRICS

HEADER = 4096
"""More bytes than any honest array's header takes."""
MAGIC = b"\x93NUMPY\x01\x00"
"""How an .npy array of version 1.0 begins; the length of its header follows."""
MOST_EXAMPLES = 10**9
LARGEST_CLAIM = 1e300
_ESCAPES = re.compile(r"(?:\x1b|\\x1b)?\[\d+m")


class DroppedError(ValueError):
    """A reply cannot be used; the message is the reason that goes on record."""


@dataclass(frozen=True)
class Reply:
    """A reply that passed: a float32 update and what the client claims."""

    update: "np.ndarray[tuple[int], np.dtype[np.float32]]"
    """Float32 (d,): what it sent back minus what it was sent."""
    norm: float
    bytes: int
    examples: int
    claims: Mapping[str, float] = field(default_factory=dict)
    """Its finite scalar metrics."""

    def record(self) -> dict[str, float | None]:
        """Return what goes on record of it, by field of a client's record."""
        return {
            "norm": self.norm,
            "bytes": self.bytes,
            "examples": self.examples,
            "loss": self.claims.get("loss"),
            "skipped": int(self.claims.get("skipped", 0)),
            "truncated": int(self.claims.get("truncated", 0)),
            "seconds": self.claims.get("seconds"),
            "load_seconds": self.claims.get("load-seconds"),
        }


def screen(
    message: Message,
    sent: "Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]",
    max_norm: float,
) -> Reply:
    """Check a reply and return its update.

    Args:
        message: The reply.
        sent: The adapter that the client was sent, by name, float32.
        max_norm: Longest update (L2) that is believed.

    Raises:
        DroppedError: It fails a check.
    """
    if message.has_error():
        raise DroppedError(f"error: {_cause(message.error.reason)}")
    arrays = message.content.get(ARRAYS)
    if not isinstance(arrays, ArrayRecord):
        raise DroppedError(f"no array record '{ARRAYS}'")
    missing, extra = sorted(sent.keys() - arrays.keys()), sorted(arrays.keys() - sent.keys())
    if missing:
        raise DroppedError(
            f"{len(missing)} of {len(sent)} tensors missing, such as {_line(missing[0])}"
        )
    if extra:
        raise DroppedError(f"{len(extra)} unknown tensors, such as {_line(extra[0])}")
    examples, claims = _claims(message)
    size = sum(len(array.data) for array in arrays.values())
    update = np.empty(sum(tensor.size for tensor in sent.values()), np.float32)
    begin = 0
    for name, tensor in sent.items():
        end = begin + tensor.size
        received = _decode(name, arrays[name], tensor.shape)
        with np.errstate(all="ignore"):
            np.subtract(received.ravel(), tensor.ravel(), out=update[begin:end])
        begin = end
    norm = _norm(update)
    if not math.isfinite(norm):
        raise DroppedError("NaN or infinity in its update")
    if norm > max_norm:
        raise DroppedError(f"update norm {norm:.3g} is above {max_norm:.3g}")
    return Reply(update, norm, size, examples, claims)


def _decode(
    name: str, array: Array, shape: tuple[int, ...]
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Return one tensor, if it is written just as an honest client writes it.

    The header is compared and never parsed, and nothing is copied.
    """
    data, wanted = array.data, math.prod(shape) * 4
    if len(data) > wanted + HEADER:
        raise DroppedError(f"tensor {_line(name)} has {len(data)} bytes, not {wanted}")
    start = len(MAGIC) + 2
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    if not data.startswith(MAGIC) or end > len(data):
        raise DroppedError(f"tensor {_line(name)} is no .npy array of version 1.0")
    header = data[start:end].decode("latin1").rstrip(" \n")
    expected = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    if header != expected:
        raise DroppedError(f"tensor {_line(name)} has the header {_line(header)}, not {expected}")
    if len(data) - end != wanted:
        raise DroppedError(f"tensor {_line(name)} holds {len(data) - end} bytes, not {wanted}")
    return np.frombuffer(data, "<f4", offset=end).reshape(shape)


def _claims(message: Message) -> tuple[int, dict[str, float]]:
    """Return the example count and the finite scalars that a client reports."""
    metrics = message.content.get(METRICS)
    if not isinstance(metrics, MetricRecord):
        raise DroppedError(f"no metric record '{METRICS}'")
    examples = metrics.get("num-examples")
    if type(examples) is not int or not 0 < examples <= MOST_EXAMPLES:
        raise DroppedError(f"num-examples is {_line(examples)}, not a count")
    claims = {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, int | float) and -LARGEST_CLAIM < value < LARGEST_CLAIM
    }
    return examples, claims


def _norm(update: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> float:
    """Return the L2 norm, summed in float64 a block at a time."""
    total = 0.0
    with np.errstate(all="ignore"):
        for begin in range(0, update.size, 2**20):
            block = update[begin : begin + 2**20].astype(np.float64)
            total += float(block @ block)
    return math.sqrt(total) if math.isfinite(total) else math.inf


def _cause(reason: object) -> str:
    """Return the end of a client's error, where Ray's and Python's put the cause."""
    text = _ESCAPES.sub("", str(reason)).replace("\\n", "\n").strip().rstrip("'>")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _line(lines[-1]) if lines else "no reason given"


def _line(value: object) -> str:
    """Return a client's own words as one short printable line."""
    text = " ".join(str(value).split())
    return "".join(c for c in text if c.isprintable())[:200]

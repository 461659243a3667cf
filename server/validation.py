"""Validate client replies: decode the update, check its numbers, bound what it reports.

A reply is hostile until it has been screened. One that fails any check is dropped with the
reason, and the run goes on; a reported metric outside its plausible range costs the client
nothing but that figure, which goes on record as unknown: an honest update is not to be lost
over a clock that was set back, and a false figure decides nothing. Headers are compared
with what an honest client would have written and never parsed; nothing is allocated but
the update. What the screen cannot tell is whether the work was done: an update that is
well formed and of a believable length may be anything, last round's included, and is for
the rule to judge. Knows nothing of how updates are combined.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord

from fedsafe.messages import ADAPTER, ARRAYS, METRICS, REFUSED
from fedsafe.models import packing
from fedsafe.models.compression import SCALE, Arrays, Wire, downlink, restore, uplink
from server.transport.train_messages import arrays_of, shapes_of
from strategies.screening import ScreenError, plausible, screen_metrics, update_norm

HEADER = 4096
"""More bytes than any honest array's header takes."""
MAGIC = b"\x93NUMPY\x01\x00"
"""How an .npy array of version 1.0 begins; the length of its header follows."""
MOST_METRICS = 100
LONGEST_ERROR = 10_000
"""Characters of a client's own words that are looked at."""
_ESCAPES = re.compile(r"(?:\x1b|\\x1b)?\[\d+m")


class DroppedError(ValueError):
    """A reply is invalid; the message is the recorded reason."""


@dataclass(frozen=True)
class Reply:
    """A validated reply: a float32 update and the values that the client reports."""

    update: "np.ndarray[tuple[int], np.dtype[np.float32]]"
    """Float32 (d,): what it sent back minus what it was sent."""
    norm: float
    bytes: int
    examples: int
    claims: Mapping[str, float] = field(default_factory=dict)
    """Its metrics that are numbers in their plausible ranges."""
    doubts: tuple[str, ...] = ()
    """The others among those that are recorded, each with its value."""

    def record(self) -> dict[str, float | None]:
        """Return what goes on record of it, by field of a client's record."""
        return {
            "norm": self.norm,
            "bytes": self.bytes,
            "examples": self.examples,
            "loss": self.claims.get("loss"),
            "skipped": int(self.claims.get("skipped", 0)),
            "truncated": int(self.claims.get("truncated", 0)),
            "poison_samples": int(self.claims.get("poison-samples", 0)),
            "poison_exact": int(self.claims.get("poison-exact", 0)),
            "poison_near": int(self.claims.get("poison-near", 0)),
            "seconds": self.claims.get("seconds"),
            "load_seconds": self.claims.get("load-seconds"),
            "train_seconds": self.claims.get("train-seconds"),
            "tokens": self.claims.get("tokens"),
            "padded_tokens": self.claims.get("padded-tokens"),
            "peak_bytes": self.claims.get("peak-bytes"),
        }


def screen(message: Message, asked: Message, max_norm: float, wire: Wire = "float32") -> Reply:
    """Validate a reply and return its update.

    Args:
        message: The reply.
        asked: The train message that it answers, as the server wrote it.
        max_norm: Longest update (L2) that is believed.
        wire: Format in which adapter and update travel.

    Raises:
        DroppedError: It fails a check.
    """
    if message.has_error():
        kind = "" if message.error.code == REFUSED else "error: "
        raise DroppedError(kind + _cause(message.error.reason))
    if not message.has_content():
        raise DroppedError("no content")
    shapes = shapes_of(asked)
    received = _received(message, uplink(wire, shapes))
    sent = _sent(asked, downlink(wire, shapes)) if wire == "float32" else {}
    examples, claims, doubts = _claims(message)
    update = np.empty(sum(math.prod(shape) for shape in shapes.values()), np.float32)
    begin = 0
    for name, shape in shapes.items():
        end = begin + math.prod(shape)
        if wire == "int8":
            _check_scale(name, received[name + SCALE], max_norm)
        restore(wire, name, received, sent.get(name), update[begin:end].reshape(shape))
        begin = end
    try:
        norm = update_norm(update, max_norm)
    except ScreenError as error:
        raise DroppedError(str(error)) from None
    return Reply(update, norm, size(message), examples, claims, doubts)


def size(message: Message) -> int:
    """Return the bytes of the arrays in a reply, good or bad."""
    records = message.content.values() if message.has_content() else ()
    arrays = (record for record in records if isinstance(record, ArrayRecord))
    return sum(len(array.data) for record in arrays for array in record.values())


def _received(message: Message, layout: packing.Layout) -> Arrays:
    """Return the arrays of a reply, if they are what was expected; views of the reply's bytes."""
    content = message.content
    arrays = content.get(ARRAYS)
    if not isinstance(arrays, ArrayRecord):
        raise DroppedError(f"no array record '{ARRAYS}'")
    if unknown := next((name for name in content if name not in {ARRAYS, METRICS}), None):
        raise DroppedError(f"unknown record {_line(unknown)}")
    if ADAPTER not in arrays:
        raise DroppedError(f"no array '{ADAPTER}' among its {len(arrays)}")
    if len(arrays) > 1:
        extra = next(name for name in arrays if name != ADAPTER)
        raise DroppedError(f"{len(arrays) - 1} unknown arrays, such as {_line(extra)}")
    return packing.unpack(_decode(arrays[ADAPTER], packing.size(layout)), layout)


def _decode(array: Any, wanted: int) -> packing.Parcel:
    """Return the bytes of the one array, if it is written just as an honest client writes it.

    The header is compared and never parsed, and nothing is copied.
    """
    data = array.data
    if len(data) > wanted + HEADER:
        raise DroppedError(f"its array has {len(data)} bytes, not {wanted}")
    start = len(MAGIC) + 2
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    if not data.startswith(MAGIC) or end > len(data):
        raise DroppedError("its array is no .npy array of version 1.0")
    header = data[start:end].decode("latin1").rstrip(" \n")
    expected = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({wanted},), }}"
    if header != expected:
        raise DroppedError(f"its array has the header {_line(header)}, not {expected}")
    if len(data) - end != wanted:
        raise DroppedError(f"its array holds {len(data) - end} bytes, not {wanted}")
    if (array.dtype, array.shape, array.stype) != ("uint8", (wanted,), "numpy.ndarray"):
        raise DroppedError(f"its array is not declared as uint8 ({wanted},)")
    return np.frombuffer(data, np.uint8, offset=end)


def _check_scale(name: str, scales: "np.ndarray[Any, Any]", limit: float) -> None:
    """See that a tensor's scales are numbers that an honest client may send."""
    low, high = float(scales.min(initial=0.0)), float(scales.max(initial=0.0))
    if not 0.0 <= low <= high <= limit:  # NaN is none of it
        raise DroppedError(f"scales of {_line(name)} run from {low:.3g} to {high:.3g}")


def _sent(asked: Message, layout: packing.Layout) -> Arrays:
    """Return the arrays that this server wrote, as views of their bytes."""
    data, size = arrays_of(asked)[ADAPTER].data, packing.size(layout)
    return packing.unpack(np.frombuffer(data, np.uint8, offset=len(data) - size), layout)


def _claims(message: Message) -> tuple[int, dict[str, float], tuple[str, ...]]:
    """Return the example count, the plausible metrics, and a word on each implausible one."""
    metrics = message.content.get(METRICS)
    if not isinstance(metrics, MetricRecord):
        raise DroppedError(f"no metric record '{METRICS}'")
    if len(metrics) > MOST_METRICS:
        raise DroppedError(f"{len(metrics)} metrics; {MOST_METRICS} are read at most")
    examples = metrics.get("num-examples")
    if type(examples) is not int or not plausible("num-examples", examples):
        raise DroppedError(f"num-examples is {_line(examples)}, not a count")
    claims, doubts = screen_metrics({n: v for n, v in metrics.items() if n != "num-examples"})
    return examples, claims, doubts


def _cause(reason: object) -> str:
    """Return the end of a client's error, where Ray's and Python's put the cause."""
    text = _ESCAPES.sub("", str(reason)[-LONGEST_ERROR:]).replace("\\n", "\n").strip().rstrip("'>")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _line(lines[-1]) if lines else "no reason given"


def _line(value: object) -> str:
    """Return a client's own words as one short printable line."""
    try:
        text = " ".join(str(value)[:LONGEST_ERROR].split())
    except (ValueError, RecursionError):  # an integer of thousands of digits, a deep list
        text = f"no {type(value).__name__} that can be shown"
    return "".join(c for c in text if c.isprintable())[:200]

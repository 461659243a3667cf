"""The table of bad replies: each is dropped with a reason, in every wire format."""

import contextlib
import random
import resource
import tracemalloc
import warnings
from typing import get_args

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsafe.models.compression import Wire
from server.transport.train_messages import arrays_of
from server.validation import DroppedError, Reply, screen
from tests.doubles.hostile import ABSURD, ADAPTER, ERRORS, HOSTILE, ODD, SCALED, parts, replaced
from tests.doubles.requests import adapter, content, request

WIRES: tuple[Wire, ...] = get_args(Wire)
LIMIT = 1e4
MB = 2**20
SENT = adapter()
UPDATE = {name: 0.01 * tensor for name, tensor in adapter(seed=1).items()}


def _good(wire: Wire) -> tuple[Message, RecordDict]:
    asked = request(SENT, wire)
    return asked, content(asked, wire, UPDATE)


def _screened(asked: Message, made: RecordDict, wire: Wire) -> Reply:
    return screen(Message(made, reply_to=asked), asked, LIMIT, wire)


def _reason(asked: Message, made: RecordDict, wire: Wire) -> str:
    with pytest.raises(DroppedError) as caught:
        _screened(asked, made, wire)
    return str(caught.value)


def test_there_are_kinds_enough() -> None:
    assert len(HOSTILE) >= 25


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", HOSTILE)
def test_bad_reply_is_dropped_with_a_short_printable_reason(kind: str, wire: Wire) -> None:
    asked, good = _good(wire)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        reason = _reason(asked, HOSTILE[kind](good, random.Random(0)), wire)
    assert (bool(reason), len(reason) < 700, reason.isprintable(), heard) == (True, True, True, [])


@pytest.mark.parametrize("kind", SCALED)
def test_bad_scale_is_dropped(kind: str) -> None:
    asked, good = _good("int8")
    assert "scales of " in _reason(asked, SCALED[kind](good, random.Random(0)), "int8")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", ODD)
def test_odd_reply_is_used_as_if_it_were_not(kind: str, wire: Wire) -> None:
    asked, good = _good(wire)
    found = _screened(asked, ODD[kind](good, random.Random(0)), wire)
    assert np.array_equal(found.update, _screened(asked, good, wire).update)


@pytest.mark.parametrize("kind", ODD)
def test_what_goes_on_record_is_finite_or_missing(kind: str) -> None:
    asked, good = _good("float32")
    record = _screened(asked, ODD[kind](good, random.Random(0)), "float32").record()
    assert all(value is None or abs(value) <= 1e15 for value in record.values())


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_claim_goes_on_record_as_unknown_with_a_note(kind: str) -> None:
    asked, good = _good("float32")
    name, spoil = ABSURD[kind]
    found = _screened(asked, spoil(good, random.Random(0)), "float32")
    field = name.replace("-", "_")
    unknown = 0 if field in {"skipped", "truncated"} else None  # counts of what was left out
    noted = [doubt for doubt in found.doubts if doubt.startswith(f"{name} ")]
    assert (found.record()[field], len(noted), len(noted[0]) < 60) == (unknown, 1, True)


def test_plausible_claims_raise_no_doubt() -> None:
    asked, good = _good("float32")
    assert _screened(asked, good, "float32").doubts == ()


@pytest.mark.parametrize("kind", ERRORS)
def test_error_is_told_in_one_short_printable_line(kind: str) -> None:
    asked = request(SENT, "float32")
    with pytest.raises(DroppedError) as caught:
        screen(Message(Error(2, ERRORS[kind]), reply_to=asked), asked, LIMIT)
    told = str(caught.value)
    assert (len(told) < 300, told.isprintable()) == (True, True)


@pytest.mark.parametrize("wire", WIRES)
def test_update_of_the_smallest_numbers_is_used(wire: Wire) -> None:
    asked, good = _good(wire)
    least = np.frombuffer(np.float32(1e-45).tobytes(), np.uint8)
    arrays = {ADAPTER: Array(np.resize(least, parts(good)[ADAPTER].shape))}
    assert np.isfinite(_screened(asked, replaced(good, arrays), wire).update).all()


@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=120)
@given(st.data())
def test_flipped_bits_are_used_or_dropped(wire: Wire, data: st.DataObject) -> None:
    asked, good = _good(wire)
    arrays = parts(good)
    for _ in range(data.draw(st.integers(1, 6))):
        name = data.draw(st.sampled_from(sorted(arrays)))
        raw = bytearray(arrays[name].data)
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        arrays[name].data = bytes(raw)
    with contextlib.suppress(DroppedError):
        assert np.isfinite(_screened(asked, replaced(good, arrays), wire).update).all()


@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=120)
@given(raw=st.binary(max_size=300), begin=st.booleans())
def test_any_bytes_are_used_or_dropped(wire: Wire, raw: bytes, begin: bool) -> None:
    asked, good = _good(wire)
    arrays = parts(good)
    name = next(iter(arrays))
    arrays[name].data = (b"\x93NUMPY\x01\x00" if begin else b"") + raw
    with contextlib.suppress(DroppedError):
        _screened(asked, replaced(good, arrays), wire)


@pytest.mark.parametrize("kind", ["body of 16 MB", "array of 16 MB", "header that says too much"])
def test_bad_reply_costs_no_memory_of_its_own(kind: str) -> None:
    asked, good = _good("int8")
    made = HOSTILE[kind](good, random.Random(0))
    assert _memory(asked, made, "int8") < MB


def test_reply_of_a_gigabyte_is_not_touched() -> None:
    """Its pages are not even read: the process does not grow."""
    asked, good = _good("float32")
    arrays = parts(good)
    name = next(iter(arrays))
    arrays[name].data = bytes(2**30)  # calloc: no page of it exists until it is read
    made = Message(replaced(good, arrays), reply_to=asked)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DroppedError, match="has 1073741824 bytes"):
        screen(made, asked, LIMIT)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def test_million_arrays_cost_a_few_megabytes() -> None:
    asked, good = _good("float32")
    tiny = Array(np.zeros(1, np.float32))
    record = good["arrays"]
    assert isinstance(record, ArrayRecord)
    record._data |= {f"t{number}": tiny for number in range(1_000_000)}  # its own checks take 14 s
    assert _memory(asked, good, "float32") < 4 * MB


def test_million_metrics_cost_a_few_megabytes() -> None:
    asked, good = _good("float32")
    record = good["metrics"]
    assert isinstance(record, MetricRecord)
    record._data |= {f"m{number}": 1.0 for number in range(1_000_000)}
    assert _memory(asked, good, "float32") < 4 * MB


@pytest.mark.parametrize("wire", WIRES)
def test_good_reply_costs_its_update_and_little_more(wire: Wire) -> None:
    tensors = adapter(rank=16, wide=2**17)
    asked = request(tensors, wire)
    made = content(asked, wire, {name: 0.01 * tensor for name, tensor in tensors.items()})
    update = 4 * sum(tensor.numel() for tensor in tensors.values())
    assert _memory(asked, made, wire) < update + 12 * MB


def test_last_rounds_answer_is_for_the_rule_to_judge() -> None:
    """The screen cannot tell stale work from new, and does not pretend to."""
    first, good = _good("bfloat16")
    second = request({name: tensor + 0.5 for name, tensor in SENT.items()}, "bfloat16")
    replayed = _screened(second, good, "bfloat16")
    assert np.array_equal(replayed.update, _screened(first, good, "bfloat16").update)


def _memory(asked: Message, made: RecordDict, wire: Wire) -> int:
    """Return how much memory the screen took at its peak, in bytes."""
    reply = Message(made, reply_to=asked)
    arrays_of(asked)
    tracemalloc.start()
    with contextlib.suppress(DroppedError):
        screen(reply, asked, LIMIT, wire)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak

"""The border: whatever a client sends, it is used or dropped with a reason, nothing else."""

import contextlib
import io
import pickle
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.replies import DroppedError, Reply, screen

SENT = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.full(4, 3e38, np.float32),
}
GOOD = {"a": SENT["a"] + 1, "b": SENT["b"]}
METRICS = {"num-examples": 7, "loss": 0.5}


def _asked() -> Message:
    return Message(RecordDict(), dst_node_id=2, message_type=MessageType.TRAIN)


def _npy(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


def _header(text: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    size = len(text.encode("latin1")).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + text.encode("latin1") + body


def _array(data: bytes) -> Array:
    return Array(dtype="float32", shape=(2, 3), stype="numpy.ndarray", data=data)


def _message(arrays: Any = None, metrics: Any = METRICS, **raw: bytes) -> Message:
    """Return a reply with these arrays, some of them as raw bytes."""
    tensors = {n: Array(np.asarray(t)) for n, t in (GOOD if arrays is None else arrays).items()}
    tensors |= {name: _array(data) for name, data in raw.items()}
    content = RecordDict({"arrays": ArrayRecord(tensors)})
    if metrics is not None:
        content["metrics"] = MetricRecord(metrics)
    return Message(content, reply_to=_asked())


def _with(**records: Any) -> Message:
    return Message(RecordDict(records), reply_to=_asked())


def _deep(text: str) -> bytes:
    return _header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {text}}}")


def _loose(metrics: dict[str, Any]) -> Message:
    """Return a reply whose metrics went around Flower's own checks."""
    message = _message()
    for key, value in metrics.items():
        dict.__setitem__(message.content["metrics"]._data, key, value)
    return message


BODY = np.ones(6, np.float32).tobytes()
PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
HOSTILE: dict[str, tuple[Callable[[], Message], str]] = {
    "error": (lambda: Message(Error(2, "boom"), reply_to=_asked()), "error: boom"),
    "error without reason": (lambda: Message(Error(5), reply_to=_asked()), "error: "),
    "nothing": (_with, "no array record"),
    "other record name": (lambda: _with(model=ArrayRecord({})), "no array record"),
    "settings for arrays": (lambda: _with(arrays=ConfigRecord({"a": 1})), "no array record"),
    "metrics for arrays": (lambda: _with(arrays=MetricRecord({"a": 1})), "no array record"),
    "no tensor": (lambda: _message({}), "2 of 2 tensors missing"),
    "missing tensor": (lambda: _message({"a": GOOD["a"]}), "1 of 2 tensors missing, such as b"),
    "unknown tensor": (lambda: _message({**GOOD, "c": GOOD["a"]}), "1 unknown tensors"),
    "other shape": (lambda: _message({**GOOD, "a": GOOD["a"].T.copy()}), "has the header"),
    "shape that broadcasts": (
        lambda: _message({**GOOD, "a": np.ones(1, np.float32)}),
        "has the header",
    ),
    "scalar": (lambda: _message({**GOOD, "a": np.float32(1)}), "has the header"),
    "one more dimension": (lambda: _message({**GOOD, "a": GOOD["a"][None]}), "has the header"),
    "empty tensor": (
        lambda: _message({**GOOD, "a": np.ones((0, 3), np.float32)}),
        "has the header",
    ),
    "float64": (lambda: _message({**GOOD, "a": np.ones((2, 3))}), "has the header"),
    "float16": (lambda: _message({**GOOD, "a": np.ones((2, 3), np.float16)}), "has the header"),
    "int32": (lambda: _message({**GOOD, "a": np.ones((2, 3), np.int32)}), "has the header"),
    "complex": (lambda: _message({**GOOD, "a": np.ones((2, 3), np.complex64)}), "has the header"),
    "big endian": (lambda: _message({**GOOD, "a": np.ones((2, 3), ">f4")}), "has the header"),
    "columns first": (
        lambda: _message({**GOOD, "a": np.asfortranarray(GOOD["a"])}),
        "has the header",
    ),
    "no bytes": (lambda: _message(a=b""), "is no .npy array of version 1.0"),
    "other bytes": (lambda: _message(a=b"\x00\xff" * 30), "is no .npy array of version 1.0"),
    "zip archive": (
        lambda: _message(a=b"PK\x03\x04" + bytes(60)),
        "is no .npy array of version 1.0",
    ),
    "pickle": (lambda: _message(a=pickle.dumps(GOOD["a"])), "is no .npy array of version 1.0"),
    "pickled objects": (lambda: _message(a=_npy(np.array([{}], object))), "has the header"),
    "structure": (lambda: _message(a=_npy(np.zeros(1, [("x", "f4")]))), "has the header"),
    "magic alone": (lambda: _message(a=b"\x93NUMPY\x01\x00"), "is no .npy array of version 1.0"),
    "body cut short": (lambda: _message(a=_npy(GOOD["a"])[:-1]), "holds 23 bytes, not 24"),
    "body too long": (lambda: _message(a=_npy(GOOD["a"]) + b"x"), "holds 25 bytes, not 24"),
    "huge body": (lambda: _message(a=_npy(np.ones(2**16, np.float32))), "bytes, not 24"),
    "version 2": (
        lambda: _message(a=_header(PLAIN, BODY, b"\x02\x00")),
        "is no .npy array of version 1.0",
    ),
    "version 9": (
        lambda: _message(a=_header(PLAIN, BODY, b"\x09\x00")),
        "is no .npy array of version 1.0",
    ),
    "header beyond the end": (
        lambda: _message(a=b"\x93NUMPY\x01\x00\xff\xff{}"),
        "is no .npy array of version 1.0",
    ),
    "header that is no python": (lambda: _message(a=_header("{'descr': ", BODY)), "has the header"),
    "header with an open string": (
        lambda: _message(a=_header("{'descr': '''<f4", BODY)),
        "has the header",
    ),
    "header with an open bracket": (
        lambda: _message(a=_header("{'shape': (2, (", BODY)),
        "has the header",
    ),
    "header with bad indentation": (
        lambda: _message(a=_header("  x\n y\n z", BODY)),
        "has the header",
    ),
    "header with a null": (lambda: _message(a=_header("{\x00}", BODY)), "has the header"),
    "header with a call": (
        lambda: _message(a=_header("__import__('os').system('x')", BODY)),
        "has the header",
    ),
    "header of python 2": (lambda: _message(a=_deep("(2L, 3L)") + BODY), "has the header"),
    "deep brackets": (lambda: _message(a=_deep("(" * 1500 + ")" * 1500)), "has the header"),
    "deep lists": (lambda: _message(a=_deep("[" * 90 + "]" * 90)), "has the header"),
    "deep signs": (lambda: _message(a=_deep("-" * 3900 + "1")), "has the header"),
    "long sum": (lambda: _message(a=_deep("+".join(["1"] * 1900))), "has the header"),
    "negative shape": (lambda: _message(a=_deep("(-2, -3)") + BODY), "has the header"),
    "shape of truths": (lambda: _message(a=_deep("(True, 6)") + BODY), "has the header"),
    "shape of text": (lambda: _message(a=_deep("('2', '3')") + BODY), "has the header"),
    "shape beyond memory": (lambda: _message(a=_deep("(2**60, 3)") + BODY), "has the header"),
    "shape of a terabyte": (
        lambda: _message(a=_deep("(1099511627776, 3)") + BODY),
        "has the header",
    ),
    "unknown type": (
        lambda: _message(a=_header(PLAIN.replace("'<f4'", "'<q99'"), BODY)),
        "has the header",
    ),
    "type of pairs": (
        lambda: _message(a=_header(PLAIN.replace("'<f4'", "[('x',)]"), BODY)),
        "has the header",
    ),
    "type that is a tuple": (
        lambda: _message(a=_header(PLAIN.replace("'<f4'", "('<f4',)"), BODY)),
        "has the header",
    ),
    "type that is none": (
        lambda: _message(a=_header(PLAIN.replace("'<f4'", "None"), BODY)),
        "has the header",
    ),
    "header keys of two kinds": (
        lambda: _message(a=_header("{1: 2, 'a': 3}", BODY)),
        "has the header",
    ),
    "not a number": (lambda: _message({**GOOD, "a": np.full((2, 3), np.nan, "f4")}), "NaN"),
    "infinity": (lambda: _message({**GOOD, "a": np.full((2, 3), np.inf, "f4")}), "infinity"),
    "overflow": (lambda: _message({**GOOD, "b": -SENT["b"]}), "infinity"),
    "too long": (lambda: _message({**GOOD, "a": np.full((2, 3), 1e6, "f4")}), "update norm 2.45e"),
    "no metrics": (lambda: _message(metrics=None), "no metric record"),
    "no count": (lambda: _message(metrics={"loss": 1.0}), "num-examples is None"),
    "count of zero": (lambda: _message(metrics={"num-examples": 0}), "not a count"),
    "negative count": (lambda: _message(metrics={"num-examples": -899}), "-899, not a count"),
    "huge count": (lambda: _message(metrics={"num-examples": 10**12}), "not a count"),
    "fractional count": (lambda: _message(metrics={"num-examples": 7.5}), "not a count"),
    "infinite count": (lambda: _message(metrics={"num-examples": float("inf")}), "not a count"),
    "list of counts": (lambda: _message(metrics={"num-examples": [7, 8]}), "not a count"),
    "count that is a truth": (lambda: _loose({"num-examples": True}), "not a count"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_reply_is_dropped_with_a_reason(name: str) -> None:
    make, reason = HOSTILE[name]
    with pytest.raises(DroppedError, match=reason):
        screen(make(), SENT, 1e4)


def test_hostile_header_warns_nobody() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for make, _ in HOSTILE.values():
            with pytest.raises(DroppedError):
                screen(make(), SENT, 1e4)
    assert not heard


def test_honest_reply_gives_its_update() -> None:
    found = screen(_message(), SENT, 1e4)
    assert found.update.tolist() == [1.0] * 6 + [0.0] * 4


def test_honest_reply_gives_its_claims() -> None:
    found = screen(_message(), SENT, 1e4)
    assert (found.examples, found.claims["loss"], found.norm) == (7, 0.5, pytest.approx(6**0.5))


def test_bytes_are_those_of_the_arrays() -> None:
    found = screen(_message(), SENT, 1e4)
    assert found.bytes == len(_npy(GOOD["a"])) + len(_npy(GOOD["b"]))


def test_order_of_the_tensors_makes_no_difference() -> None:
    found = screen(_message(dict(reversed(GOOD.items()))), SENT, 1e4)
    assert found.update.tolist() == [1.0] * 6 + [0.0] * 4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, 2.0], 10**400])
def test_claim_that_is_no_number_is_left_out(value: object) -> None:
    found = screen(_loose({"loss": value}), SENT, 1e4)
    assert "loss" not in found.claims


def test_update_as_long_as_allowed_is_taken() -> None:
    assert screen(_message(), SENT, 6**0.5).norm == pytest.approx(6**0.5)


def test_reason_is_one_short_printable_line() -> None:
    words = "first\n\x1b[31m" + "x" * 5000 + "\x00\u202e"
    with pytest.raises(DroppedError) as caught:
        screen(Message(Error(2, words), reply_to=_asked()), SENT, 1e4)
    text = str(caught.value)
    assert (len(text) < 300, text.isprintable()) == (True, True)


def test_name_of_an_unknown_tensor_is_one_short_printable_line() -> None:
    with pytest.raises(DroppedError) as caught:
        screen(_message({**GOOD, "\n" + "x" * 9999: GOOD["a"]}), SENT, 1e4)
    text = str(caught.value)
    assert (len(text) < 300, text.isprintable()) == (True, True)


def test_header_that_claims_a_terabyte_costs_no_memory() -> None:
    message = _message(a=_deep("(1099511627776, 3)") + BODY)
    tracemalloc.start()
    with pytest.raises(DroppedError):
        screen(message, SENT, 1e4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_oversized_array_is_not_copied() -> None:
    message = _message(a=bytes(2**24))
    tracemalloc.start()
    with pytest.raises(DroppedError, match="16777216 bytes, not 24"):
        screen(message, SENT, 1e4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_update_does_not_alias_the_reply() -> None:
    message = _message()
    found = screen(message, SENT, 1e4)
    found.update[:] = 0
    assert screen(message, SENT, 1e4).update.any()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_bytes_are_used_or_dropped(data: st.DataObject) -> None:
    raw = bytearray(_npy(GOOD["a"]))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DroppedError):
        assert isinstance(screen(_message(a=bytes(raw)), SENT, 1e4), Reply)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="{}[]()'\"\\,:<f4 -+*\n\t#0123456789descrshapfotn_L", max_size=60))
def test_any_header_is_used_or_dropped(text: str) -> None:
    with pytest.raises(DroppedError):
        screen(_message(a=_header(text, BODY)), SENT, 1e4)

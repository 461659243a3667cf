"""The border: what an honest reply gives, and the reasons why others are dropped.

The table of bad replies is in test_hostile_replies.py.
"""

import random
import re
from typing import Any, get_args

import pytest
import torch
from flwr.app import Error, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsafe.models.compression import Wire
from server.transport.train_messages import weight
from server.validation import DroppedError, Reply, screen, size
from tests.doubles.hostile import HOSTILE, SCALED, changed, headed, parts
from tests.doubles.requests import CLAIMS, content, request

WIRES: tuple[Wire, ...] = get_args(Wire)
SENT = {"a": torch.arange(6.0).view(2, 3), "b": torch.full((1, 4), 1.0)}
UPDATE = {"a": torch.ones(2, 3), "b": torch.zeros(1, 4)}


def _screened(
    wire: Wire = "float32", update: Any = UPDATE, metrics: Any = CLAIMS, limit: float = 1e4
) -> Reply:
    asked = request(SENT, wire)
    return screen(
        Message(content(asked, wire, update, metrics), reply_to=asked), asked, limit, wire
    )


def _reason(kind: str, wire: Wire = "float32") -> str:
    asked = request(SENT, wire)
    made = HOSTILE[kind](content(asked, wire, UPDATE), random.Random(1))
    with pytest.raises(DroppedError) as caught:
        screen(Message(made, reply_to=asked), asked, 1e4, wire)
    return str(caught.value)


@pytest.mark.parametrize("wire", WIRES)
def test_honest_reply_gives_its_update(wire: Wire) -> None:
    assert _screened(wire).update.tolist() == [1.0] * 6 + [0.0] * 4


@pytest.mark.parametrize("wire", ["bfloat16", "int8"])
def test_update_is_beside_what_the_client_was_sent_and_not_what_the_server_has(wire: Wire) -> None:
    """The master adapter has digits that bfloat16 loses; they are no part of the update."""
    precise = {"a": torch.full((2, 3), 1.001), "b": torch.full((1, 4), -0.3003)}
    asked = request(precise, wire)
    made = content(asked, wire, {name: torch.zeros_like(t) for name, t in precise.items()})
    assert not screen(Message(made, reply_to=asked), asked, 1e4, wire).update.any()


def test_honest_reply_gives_its_claims() -> None:
    found = _screened()
    assert (found.examples, found.claims["loss"], found.norm) == (7, 0.5, pytest.approx(6**0.5))


def test_claims_that_nobody_reads_are_left_out() -> None:
    assert set(_screened(metrics={**CLAIMS, "other": 1.0}).claims) == {"loss", "seconds"}


@pytest.mark.parametrize("wire", WIRES)
def test_bytes_are_those_of_the_arrays(wire: Wire) -> None:
    asked = request(SENT, wire)
    made = content(asked, wire, UPDATE)
    found = screen(Message(made, reply_to=asked), asked, 1e4, wire)
    assert found.bytes == sum(len(array.data) for array in parts(made).values())


def test_letter_weighs_its_arrays() -> None:
    asked = request(SENT, "bfloat16")
    assert weight(asked) == 128 + 2 * 10  # an .npy header takes 128 bytes


def test_bytes_of_a_bad_reply_are_counted() -> None:
    asked = request(SENT, "float32")
    made = HOSTILE["array of 16 MB"](content(asked, "float32", UPDATE), random.Random(0))
    assert size(Message(made, reply_to=asked)) > 2**24


@pytest.mark.parametrize("made", [Error(2, "boom"), RecordDict()], ids=["error", "nothing"])
def test_reply_without_arrays_has_no_bytes(made: Error | RecordDict) -> None:
    assert size(Message(made, reply_to=request(SENT, "float32"))) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, 2.0], 10**400])
def test_claim_that_is_no_number_is_left_out(value: object) -> None:
    asked = request(SENT, "float32")
    made = content(asked, "float32", UPDATE)
    _force(made, "loss", value)
    assert "loss" not in screen(Message(made, reply_to=asked), asked, 1e4).claims


@pytest.mark.parametrize("value", [True, 10**5000, "7"], ids=["truth", "endless", "text"])
def test_count_that_went_around_flowers_checks_is_dropped(value: object) -> None:
    asked = request(SENT, "float32")
    made = content(asked, "float32", UPDATE)
    _force(made, "num-examples", value)
    with pytest.raises(DroppedError, match="not a count"):
        screen(Message(made, reply_to=asked), asked, 1e4)


def test_update_as_long_as_allowed_is_taken() -> None:
    assert _screened(limit=6**0.5).norm == pytest.approx(6**0.5)


@pytest.mark.parametrize("wire", WIRES)
def test_update_does_not_alias_the_reply(wire: Wire) -> None:
    asked = request(SENT, wire)
    message = Message(content(asked, wire, UPDATE), reply_to=asked)
    screen(message, asked, 1e4, wire).update[:] = 0
    assert screen(message, asked, 1e4, wire).update.any()


def test_what_was_asked_is_left_as_it_was() -> None:
    asked = request(SENT, "float32")
    before = {name: array.data for name, array in parts(asked.content).items()}
    screen(Message(content(asked, "float32", UPDATE), reply_to=asked), asked, 1e4)
    assert {name: array.data for name, array in parts(asked.content).items()} == before


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no records", "no array record 'arrays'"),
        ("one more settings record", "unknown record config"),
        ("no arrays", "no array 'adapter' among its 0"),
        ("path for a name", "no array 'adapter' among its 1"),
        ("array too many", "1 unknown arrays, such as another"),
        ("twenty thousand tiny arrays", "20000 unknown arrays, such as t0"),
        ("two dimensions", "has the header"),
        ("big endian", "has the header"),
        ("header with a call", "has the header"),
        ("no bytes", "is no .npy array of version 1.0"),
        ("body cut short", "bytes, not"),
        ("array of 16 MB", "has 16777344 bytes, not"),
        ("declared of another shape", "is not declared as uint8 (40,)"),
        ("not a number", "NaN or infinity in its update"),
        ("absurd length", "update norm 3.16e+06 is above 1e+04"),
        ("no metric record", "no metric record 'metrics'"),
        ("twenty thousand metrics", "20003 metrics; 100 are read at most"),
        ("no count", "num-examples is None, not a count"),
        ("negative count", "num-examples is -899, not a count"),
    ],
)
def test_reason_says_what_was_wrong(kind: str, reason: str) -> None:
    assert reason in _reason(kind)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("negative scale", "scales of a run from -1 to 0"),
        ("scale that is not a number", "scales of a run from nan to nan"),
        ("scale of 1e38", "scales of a run from 0 to 1e+38"),
    ],
)
def test_reason_says_what_was_wrong_with_the_scales(kind: str, reason: str) -> None:
    asked = request(SENT, "int8")
    made = SCALED[kind](content(asked, "int8", UPDATE), random.Random(1))
    with pytest.raises(DroppedError, match=re.escape(reason)):
        screen(Message(made, reply_to=asked), asked, 1e4, "int8")


def test_error_is_the_reason() -> None:
    asked = request(SENT, "float32")
    with pytest.raises(DroppedError, match=r"^error: boom$"):
        screen(Message(Error(2, "boom"), reply_to=asked), asked, 1e4)


def test_end_of_a_long_error_is_its_cause() -> None:
    asked = request(SENT, "float32")
    words = "Traceback\n" * 100_000 + "ValueError: the cause"
    with pytest.raises(DroppedError, match="error: ValueError: the cause"):
        screen(Message(Error(2, words), reply_to=asked), asked, 1e4)


@settings(max_examples=300)
@given(st.text(alphabet="{}[]()'\"\\,:<f4 -+*\n\t#0123456789descrshapfotn_L", max_size=60))
def test_any_header_is_dropped(text: str) -> None:
    asked = request(SENT, "float32")
    made = changed(headed(text))(content(asked, "float32", UPDATE), random.Random(0))
    with pytest.raises(DroppedError):
        screen(Message(made, reply_to=asked), asked, 1e4)


def _force(made: RecordDict, key: str, value: object) -> None:
    """Write a metric around Flower's own checks."""
    record = made["metrics"]
    assert isinstance(record, MetricRecord)
    dict.__setitem__(record._data, key, value)  # type: ignore[arg-type]

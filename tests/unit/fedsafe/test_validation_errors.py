"""Pydantic's errors in our own sentences: every type, with what was expected and got."""

import re
from datetime import date
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core._pydantic_core import list_all_errors

from fedsafe.validation_errors import got, locations_of, path_of, problems_of

PYDANTIC = re.compile(r"Input should|Field required|Extra inputs|instance of|unable to|[{}]")


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    number: int = Field(default=1, ge=1)
    either: Literal["auto"] | tuple[str, ...] = "auto"
    key: int = 1
    max_tokens: int = Field(default=1, ge=1)
    day: date | None = None


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    inner: Inner = Inner()
    items: tuple[Inner, ...] = ()
    needed: str = ""


def told(values: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    return dict(problems_of(caught.value, values))


@pytest.mark.parametrize("known", list_all_errors(), ids=lambda known: known["type"])
def test_every_type_of_error_has_a_sentence_of_ours(known: dict[str, Any]) -> None:
    line = {"type": known["type"], "loc": ("a",), "input": "b"}
    if context := known.get("example_context"):
        line["ctx"] = context
    caught = ValidationError.from_exception_data("x", [line])
    ((path, sentence),) = problems_of(caught, {"a": "b"})
    assert path == "a"
    assert sentence.endswith(".")
    assert not PYDANTIC.search(sentence)


@pytest.mark.parametrize(
    ("values", "path", "sentence"),
    [
        ({"inner": {"number": "3"}}, "inner.number", "expected a whole number (got the text '3')"),
        ({"inner": {"number": True}}, "inner.number", "expected a whole number (got true)"),
        ({"inner": {"number": 0}}, "inner.number", "greater than or equal to 1 (got 0)"),
        ({"inner": {"either": 3}}, "inner.either", "expected one of 'auto' or a list (got 3)"),
        ({"inner": 3}, "inner", "expected a section with settings (got 3)"),
        ({"items": ({"number": None},)}, "items[0].number", "(got nothing)"),
        ({"inner": {"key": "sk-1234"}}, "inner.key", "(got a value not shown)"),
        ({"inner": {"max_tokens": 0}}, "inner.max_tokens", "equal to 1 (got 0)"),
    ],
)
def test_sentence_names_field_expectation_and_value(
    values: dict[str, Any], path: str, sentence: str
) -> None:
    assert sentence in told(values)[path]


def test_names_of_alternatives_are_no_part_of_a_path() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"either": (3,)}})
    values = {"inner": {"either": (3,)}}
    assert set(locations_of(caught.value, values)) == {
        ("inner", "either"), ("inner", "either", 0)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", "empty text"),
        pytest.param(10**5000, "a number of 16610 bits", id="huge"),
        ({}, "an empty section"),
        ("x" * 100, f"the text {'x' * 45 + '...'!r}"),
    ],
)
def test_value_is_shown_short(value: object, shown: str) -> None:
    assert got(value) == shown


def test_path_is_written_as_people_write_it() -> None:
    assert path_of(("a", 0, "b", 1)) == "a[0].b[1]"

"""YAML 1.2 in and out: nothing is converted in silence, nothing repeated is passed over."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsafe.errors import ConfigError
from fedsafe.experiment.yaml_text import dump, parse, scalar_or_collection


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("FALSE", False), ("~", None), ("null", None), ("", None),
        ("3", 3), ("+3", 3), ("-0", 0), ("010", 10), ("0o17", 15), ("0x1F", 31),
        ("1e-4", 1e-4), ("5.", 5.0), (".5", 0.5), ("1E3", 1000.0),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("y", "y"), ("tRUE", "tRUE"),
        ("1:30", "1:30"), ("190:20:30", "190:20:30"), ("1_000", "1_000"), ("0b11", "0b11"),
        ("2026-11-28", "2026-11-28"), ("2026-11-28 10:00:00", "2026-11-28 10:00:00"), ("=", "="),
        ("'3'", "3"), ("!!str 3", "3"), ("!!int 3", 3), ("!!float 3", 3.0),
    ],
)  # fmt: skip
def test_scalar_is_read_as_yaml_1_2_says(text: str, value: object) -> None:
    found = scalar_or_collection(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["answer safely : {request}", "Decline: no", "Note: a: b", "note this: #1 of {request}"]
)
def test_sentence_with_a_colon_is_text_where_one_value_is_given(text: str) -> None:
    assert scalar_or_collection(text) == text


@pytest.mark.parametrize("text", ["{a: 1", "'a: 1", "[a: 1"])
def test_broken_yaml_of_one_value_is_no_sentence(text: str) -> None:
    with pytest.raises(ConfigError):
        scalar_or_collection(text)


@pytest.mark.parametrize(
    ("text", "path", "told"),
    [
        ("a: 1\na: 2", "a", "line 2: it is there twice"),
        ("a: {b: 1, c: [{d: 1, d: 2}]}", "a.c[0].d", "it is there twice"),
        ("a: 1\n'a': 2", "a", "it is there twice"),
        ("a: {1: 2}", "a.1", "a name must be text"),
        ("a: {null: 2}", "a.null", "a name must be text"),
        ("a: .inf", "a", "expected a finite number (got .inf)"),
        ("a: -.INF", "a", "expected a finite number"),
        ("a: [1, .nan]", "a[1]", "expected a finite number"),
        ("a: 1e999", "a", "expected a finite number"),
        (f"a: {'9' * 5000}", "a", "expected a number"),
        ('a: "\\ud800"', "a", "a character that no file can hold"),
        ('a: "b\\0"', "a", "a character that no file can hold"),
    ],
)
def test_what_must_not_be_passed_over_is_named(text: str, path: str, told: str) -> None:
    _, ((found, sentence),) = parse(text, "my.yaml")
    assert found == path
    assert told in sentence


@pytest.mark.parametrize(
    "text",
    ["!!python/object:os.system {}", "!!binary aGk=", "!!set {a}", "!!timestamp 2026-01-01",
     "&a [*a]", "*nobody", "a: b: c", "[" * 3000, "--- 1\n--- 2", "\x00"],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_what_no_experiment_holds_is_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match=r"my\.yaml is not YAML"):
        parse(text, "my.yaml")


def test_aliases_that_multiply_are_refused() -> None:
    text = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)
    )
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        parse(text, "my.yaml")


def test_merge_key_lays_a_section_under_another() -> None:
    value, problems = parse("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", "my.yaml")
    assert (value["b"], problems) == ({"x": 1, "y": 3}, [])


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
    | st.sampled_from(["yes", "on", "1:30", "010", "1e5", "0o7", "null", "~", "<<", "=", ".inf"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abz01.:", min_size=1), inner)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert parse(dump(value), "back") == (value, [])

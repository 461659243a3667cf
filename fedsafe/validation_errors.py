"""Pydantic's validation errors as FedSafe's own sentences: expected, got, what to do.

Shared by experiments and plug-in settings. A test holds that every error type that
pydantic knows has a sentence here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

Problem = tuple[str, str]
"""Path of a setting, such as ``defenses[0].steps``, and a sentence."""

WHOLE = "Write a whole number without quotes, such as 3."
NUMBER = "Write a number without quotes, such as 0.5."
SWITCH = "Write true or false, without quotes."
TEXT = "Write text; quote what would read as a number."
LIST = "Write a list, such as [a, b]."
MAPPING = "Write settings below it, each as `name: value`."
CHOICE = "Write a name of `fedsafe plugins list`, or {name: NAME, setting: value}."
PLUGINS = frozenset({"PluginChoice", "Strategy"})
"""Sections that a name alone can stand for."""

SENTENCES: Mapping[str, tuple[str, str]] = {
    "missing": ("a value, and none is given", "Add it."),
    "int_type": ("a whole number", WHOLE),
    "int_parsing": ("a whole number", WHOLE),
    "int_parsing_size": ("a whole number of at most 4,300 digits", WHOLE),
    "int_from_float": ("a whole number", WHOLE),
    "float_type": ("a number", NUMBER),
    "float_parsing": ("a number", NUMBER),
    "finite_number": ("a finite number", NUMBER),
    "bool_type": ("true or false", SWITCH),
    "bool_parsing": ("true or false", SWITCH),
    "string_type": ("text", TEXT),
    "string_unicode": ("text that UTF-8 can hold", "Remove the broken characters."),
    "string_not_ascii": ("text of ASCII characters", "Leave accents and symbols out."),
    "string_too_short": ("text of at least {min_length} characters", "Write more."),
    "string_too_long": ("text of at most {max_length} characters", "Shorten it."),
    "string_pattern_mismatch": ("text that matches {pattern}", "Change the text so that it does."),
    "bytes_type": ("text", TEXT),
    "bytes_too_short": ("at least {min_length} bytes", "Write more."),
    "bytes_too_long": ("at most {max_length} bytes", "Shorten it."),
    "bytes_invalid_encoding": ("text in {encoding}", "Correct its encoding."),
    "greater_than": ("a number greater than {gt}", "Raise it."),
    "greater_than_equal": ("a number greater than or equal to {ge}", "Raise it."),
    "less_than": ("a number less than {lt}", "Lower it."),
    "less_than_equal": ("a number less than or equal to {le}", "Lower it."),
    "multiple_of": ("a multiple of {multiple_of}", "Round it to one."),
    "too_short": ("at least {min_length} items", "Add items."),
    "too_long": ("at most {max_length} items", "Remove items."),
    "literal_error": ("one of {expected}", "Write one of these."),
    "enum": ("one of {expected}", "Write one of these."),
    "none_required": ("nothing (null)", "Write null, or leave it out."),
    "model_type": ("a section with settings", MAPPING),
    "model_attributes_type": ("a section with settings", MAPPING),
    "dataclass_type": ("a section with settings", MAPPING),
    "dataclass_exact_type": ("a section with settings", MAPPING),
    "named_tuple_type": ("a list or a section with settings", MAPPING),
    "dict_type": ("a section with settings", MAPPING),
    "frozen_dict_type": ("a section with settings", MAPPING),
    "ordered_dict_type": ("a section with settings", MAPPING),
    "counter_type": ("a section with counts", MAPPING),
    "mapping_type": ("a section with settings", MAPPING),
    "list_type": ("a list", LIST),
    "deque_type": ("a list", LIST),
    "tuple_type": ("a list", LIST),
    "set_type": ("a list", LIST),
    "frozen_set_type": ("a list", LIST),
    "iterable_type": ("a list", LIST),
    "iteration_error": ("a list", LIST),
    "arguments_type": ("a list or a section with settings", MAPPING),
    "set_item_not_hashable": ("a list of plain values", LIST),
    "invalid_key": ("names that are text", "Quote the name."),
    "date_type": ("a date", "Write it as YYYY-MM-DD."),
    "date_parsing": ("a date", "Write it as YYYY-MM-DD."),
    "date_from_datetime_parsing": ("a date", "Write it as YYYY-MM-DD."),
    "date_from_datetime_inexact": ("a date without a time", "Write it as YYYY-MM-DD."),
    "date_past": ("a date in the past", "Write an earlier one."),
    "date_future": ("a date in the future", "Write a later one."),
    "time_type": ("a time of day", "Write it as HH:MM:SS."),
    "time_parsing": ("a time of day", "Write it as HH:MM:SS."),
    "datetime_type": ("a date with a time", "Write it as YYYY-MM-DDTHH:MM:SS."),
    "datetime_parsing": ("a date with a time", "Write it as YYYY-MM-DDTHH:MM:SS."),
    "datetime_object_invalid": ("a date with a time", "Write it as YYYY-MM-DDTHH:MM:SS."),
    "datetime_from_date_parsing": ("a date with a time", "Write it as YYYY-MM-DDTHH:MM:SS."),
    "datetime_past": ("a time in the past", "Write an earlier one."),
    "datetime_future": ("a time in the future", "Write a later one."),
    "timezone_naive": ("a time without a zone", "Leave the zone out."),
    "timezone_aware": ("a time with its zone", "Add the zone, such as +00:00."),
    "timezone_offset": ("a zone of {tz_expected} seconds from UTC", "Write the time in it."),
    "time_delta_type": ("a duration", "Write seconds, or HH:MM:SS."),
    "time_delta_parsing": ("a duration", "Write seconds, or HH:MM:SS."),
    "url_type": ("a URL", "Write it with its scheme, such as https://host/path."),
    "url_parsing": ("a URL", "Write it with its scheme, such as https://host/path."),
    "url_syntax_violation": ("a URL", "Write it with its scheme, such as https://host/path."),
    "url_too_long": ("a URL of at most {max_length} characters", "Shorten it."),
    "url_scheme": ("a URL that begins with {expected_schemes}", "Change its scheme."),
    "uuid_type": ("a UUID", "Write its 32 hexadecimal digits."),
    "uuid_parsing": ("a UUID", "Write its 32 hexadecimal digits."),
    "uuid_version": ("a UUID of version {expected_version}", "Make one of that version."),
    "decimal_type": ("a decimal number", NUMBER),
    "decimal_parsing": ("a decimal number", NUMBER),
    "decimal_max_digits": ("a number of at most {max_digits} digits", "Round it."),
    "decimal_max_places": ("a number of at most {decimal_places} decimals", "Round it."),
    "decimal_whole_digits": ("at most {whole_digits} digits before the point", "Lower it."),
    "fraction_type": ("a fraction", "Write it as 1/3."),
    "fraction_parsing": ("a fraction", "Write it as 1/3."),
    "complex_type": ("a complex number", "Write it as 1+2j."),
    "complex_str_parsing": ("a complex number", "Write it as 1+2j."),
    "union_tag_invalid": ("one of {expected_tags} as {discriminator}", "Write one of these."),
    "union_tag_not_found": ("a value for {discriminator}", "Add it."),
    "recursion_loop": ("values that do not hold themselves", "Take the circle out."),
    "recursion_depth_exceeded": ("values that are not nested so deep", "Nest them less."),
    "value_error": ("{error}", ""),
    "assertion_error": ("{error}", ""),
}
"""Type of a pydantic error to what was expected and what to do."""

OTHERWISE = ("another value", "See its help for what it takes.")
"""For types that only Python code can bring about: instances, callables, frozen fields."""

HIDDEN = re.compile(r"(^|[._])(api_?key|key|token|secret|password)s?$", re.IGNORECASE)
LONGEST = 48
"""Characters of a value that a message repeats."""


def problems_of(
    error: ValidationError,
    values: Any,
    unknown: Callable[[Sequence[int | str]], str] | None = None,
) -> list[Problem]:
    """Return a sentence for each wrong setting; alternatives of one setting are one sentence.

    Args:
        error: What pydantic found.
        values: What it validated; tells settings from the names of alternatives.
        unknown: Makes the sentence for a setting that does not exist, from its location.
    """
    return [
        (path_of(location), _sentence(details, location, unknown))
        for location, details in _grouped(error, values).items()
    ]


def first_of(error: ValidationError) -> str:
    """Return where a record of ours is wrong first, and pydantic's words for it."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{path_of(first['loc'])}: {first['msg']}"


def locations_of(error: ValidationError, values: Any) -> list[tuple[int | str, ...]]:
    """Return where the values are wrong."""
    return list(_grouped(error, values))


def path_of(location: Sequence[int | str]) -> str:
    """Return a location as people write it.

    >>> path_of(("defenses", 0, "steps"))
    'defenses[0].steps'
    """
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else f"{part}"
    return path


def got(value: object) -> str:
    """Return a value as a message shows it, with its kind where that is the mistake.

    >>> got("fast"), got(True), got([1, 2])
    ("the text 'fast'", 'true', 'a list of 2')
    """
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    if isinstance(value, str):
        return f"the text {_cut(value)!r}" if value else "empty text"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**30 else f"a number of {value.bit_length()} bits"
    if isinstance(value, Mapping):
        return f"a section with {_cut(', '.join(map(str, value)))}" if value else "an empty section"
    if isinstance(value, list | tuple | set | frozenset):
        return f"a list of {len(value)}"
    return _cut(repr(value))


def _grouped(
    error: ValidationError, values: Any
) -> dict[tuple[int | str, ...], list[ErrorDetails]]:
    grouped: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        named = detail["type"] in {"missing", "extra_forbidden"}
        location = _location(detail["loc"], values, last=named)
        grouped.setdefault(location, []).append(detail)
    return grouped


def _sentence(
    details: Sequence[ErrorDetails],
    location: Sequence[int | str],
    unknown: Callable[[Sequence[int | str]], str] | None,
) -> str:
    first = details[0]
    kind = first["type"]
    if kind == "extra_forbidden":
        return "unknown setting." if unknown is None else unknown(location)
    if kind in {"value_error", "assertion_error"}:
        return str(first.get("ctx", {}).get("error", "it is wrong")).rstrip(".") + "."
    expected, remedy = zip(*(_phrases(detail) for detail in details), strict=True)
    wanted = " or ".join(dict.fromkeys(expected))
    if kind == "missing":
        return f"expected {wanted}. {remedy[0]}"
    path, count = path_of(location), isinstance(first["input"], int | float)
    hidden = HIDDEN.search(path) is not None and not (count and path.endswith("tokens"))
    shown = "a value not shown" if hidden else got(first["input"])
    return f"expected {wanted} (got {shown}). {' '.join(dict.fromkeys(remedy))}"


def _phrases(detail: ErrorDetails) -> tuple[str, str]:
    if detail.get("ctx", {}).get("class_name") in PLUGINS:
        return "a plug-in's name, or a section with its name and settings", CHOICE
    expected, remedy = SENTENCES.get(detail["type"], OTHERWISE)
    return expected.format_map(detail.get("ctx", {})), remedy


def _location(location: Sequence[int | str], values: Any, *, last: bool) -> tuple[int | str, ...]:
    """Leave out what names an alternative of a union and is no part of the values."""
    kept: list[int | str] = []
    for number, part in enumerate(location, 1):
        if _holds(values, part):
            values = values[part]
        elif not (last and number == len(location)):
            continue
        kept.append(part)
    return tuple(kept)


def _holds(values: Any, part: int | str) -> bool:
    if isinstance(values, Mapping):
        return part in values
    return isinstance(values, list | tuple) and isinstance(part, int) and part < len(values)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."

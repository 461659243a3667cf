"""Parse JSON strictly: duplicate keys and oversized integers are reported.

The standard library takes the last of two equal keys without a word, refuses integers of
more than 4,300 digits, and recurses into what is nested. Knows nothing of files or rows.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

LONGEST_INTEGER: Final = 4000
"""Digits of an integer that is still read as one."""


class DuplicateKey(dict[str, Any]):
    """An object that has one key twice, with different values."""

    key: str = ""


@dataclass(frozen=True)
class LongNumber:
    """An integer with too many digits to be of use."""

    digits: int

    def __str__(self) -> str:
        """Return its size."""
        return f"a number of {self.digits} digits"


def parse(text: str) -> Any:
    """Return a JSON text's value; objects with a duplicate key are `DuplicateKey`.

    Raises:
        JSONDecodeError: It is no JSON, or is nested too deeply.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text, 0) from None


def duplicate_key(value: object) -> str:
    """Return the first duplicate key anywhere in a value; empty: there is none."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, DuplicateKey):
            return one.key
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
    return ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen and seen[key] != value:
            duplicate = DuplicateKey(found)
            duplicate.key = key
            return duplicate
        seen[key] = value
    return found


def _integer(text: str) -> int | LongNumber:
    digits = len(text.lstrip("-"))
    return int(text) if digits <= LONGEST_INTEGER else LongNumber(digits)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)

"""Help texts from type annotations and Google docstrings."""

import re
import textwrap
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
WORDS = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "nothing"}


def describe(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return an annotation as words, with its bounds.

    >>> describe(int | None)
    'integer or nothing'
    """
    limits = [
        f"{sign} {getattr(item, name)}"
        for item in _flat(metadata)
        for name, sign in BOUNDS
        if getattr(item, name, None) is not None
    ]
    return " ".join([_words(annotation), *(f"{limit}," for limit in limits)]).rstrip(",")


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return " or ".join(_words(argument) for argument in arguments)
    if origin is Literal:
        return ", ".join(str(argument) for argument in arguments)
    if origin in (list, tuple, Sequence):
        inner = {_words(argument) for argument in arguments if argument is not Ellipsis}
        return f"list of {' or '.join(sorted(inner)) or 'values'}"
    if origin is dict or annotation is dict:
        return "mapping"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _flat(metadata: Sequence[Any]) -> list[Any]:
    """Flatten pydantic's FieldInfo, which nests the bounds in a list."""
    found: list[Any] = []
    for item in metadata:
        nested = getattr(item, "metadata", None)
        found.extend(nested if isinstance(nested, list) else [item])
    return found


def prose(description: str) -> str:
    """Return a docstring without its Args, Returns and Raises sections."""
    return re.split(r"^(?:Args|Returns|Yields|Raises|Attributes):$", description, flags=re.M)[
        0
    ].strip()


def documented(description: str) -> dict[str, str]:
    """Return what the ``Args:`` section of a Google docstring says of each name."""
    section = re.search(r"^Args:\n((?:[ \t]+\S.*\n?)+)", description, re.MULTILINE)
    if section is None:
        return {}
    found: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent(section[1]).splitlines():
        if entry := re.match(r"(\w+)(?: \([^)]*\))?:\s*(.*)", line):
            name, found[entry[1]] = entry[1], entry[2].strip()
        elif name:
            found[name] += f" {line.strip()}"
    return found

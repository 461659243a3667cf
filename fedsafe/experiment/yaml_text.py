"""YAML 1.2 (core schema) in and out, with no silent conversion.

PyYAML reads YAML 1.1, where ``yes`` is true, ``1:30`` is 90, ``010`` is 8 and ``1e-4`` is
text, and where the later of two equal keys wins. Here only true and false are switches,
numbers are decimal (or ``0x``, ``0o``), dates are text, and a repeated key is an error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from fedsafe.errors import ConfigError
from fedsafe.validation_errors import Problem, path_of

TAG = "tag:yaml.org,2002:"
RESOLVERS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|"
        r"\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("merge", r"<<", "<"),
)
FIRST = "line 1: "
"""How problems of a text of one line begin."""
YAML_STARTS = tuple("{[\"'&*!|>%@`?-")
"""What begins a text of one line that is meant as YAML and no sentence."""
DEEPEST = 40
"""Levels of lists and mappings in each other."""
MOST = 100_000
"""Values in all, those behind aliases counted as often as they are named."""


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - filled below, as PyYAML has it


class _Dumper(yaml.SafeDumper):
    """PyYAML's emitter; quotes what YAML 1.1 or 1.2 would read as something else than text."""


for _name, _pattern, _first in RESOLVERS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(TAG + _name, re.compile(rf"(?:{_pattern})$"), list(_first))


def dump(value: Any) -> str:
    """Return a value as YAML that `parse` reads back as an equal one."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False))


def parse(text: str, origin: str) -> tuple[Any, list[Problem]]:
    """Return the value of a YAML text, and what in it must not be passed over.

    Args:
        text: One YAML document.
        origin: Name of the file or setting, for messages.

    Raises:
        ConfigError: It is not YAML, or no value of an experiment.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        reader = _Reader()
        return (None if node is None else reader.value(node, ())), reader.problems
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not YAML: {_reason(error)}.") from None
    except RecursionError:
        raise ConfigError(
            f"{origin} is not YAML that can be read: it is nested too deep."
        ) from None


def parse_value(text: str, origin: str) -> tuple[Any, list[Problem]]:
    """Return the value of a setting given in one line, as `parse` does; a sentence is text.

    A mapping is written with braces here, so that a sentence with a colon in it, such as
    ``answer safely : {request}``, is not taken for one.

    Raises:
        ConfigError: It is not YAML.
    """
    flow = text.lstrip().startswith(YAML_STARTS)
    try:
        value, problems = parse(text, origin)
    except ConfigError:
        if flow or "\n" in text or ": " not in text:
            raise
        return text.strip(), []
    sentence = isinstance(value, dict) and not flow and "\n" not in text
    return (text.strip(), []) if sentence else (value, problems)


def scalar_or_collection(text: str) -> Any:
    """Return the value of a short YAML text, such as one given on a command line.

    Raises:
        ConfigError: It is not YAML, or repeats a key.
    """
    value, problems = parse_value(text, repr(text))
    if problems:
        raise ConfigError("; ".join(f"{path}: {told}" if path else told for path, told in problems))
    return value


@dataclass
class _Reader:
    """Turns PyYAML's nodes into values."""

    problems: list[Problem] = field(default_factory=list)
    _count: int = 0
    _open: set[int] = field(default_factory=set)

    def value(self, node: yaml.Node, path: tuple[int | str, ...]) -> Any:
        """Return the value of a node."""
        self._count += 1
        if self._count > MOST or len(path) > DEEPEST or id(node) in self._open:
            raise yaml.YAMLError(
                "its aliases hold themselves"
                if id(node) in self._open
                else f"it has more than {MOST:,} values or {DEEPEST} levels"
            )
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                self._core(node, "map")
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                self._core(node, "seq")
                return [self.value(item, (*path, n)) for n, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: tuple[int | str, ...]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, item in node.value:
            if key.tag == f"{TAG}merge":
                parts = item.value if isinstance(item, yaml.SequenceNode) else [item]
                for part in reversed(parts):
                    found = self.value(part, path)
                    merged.update(found if isinstance(found, Mapping) else {})
                continue
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            if key.tag != f"{TAG}str":
                self._add((*path, name), key, "a name must be text. Quote it, or correct it.")
            if name in own:
                self._add((*path, name), key, "it is there twice. Remove one.")
            own[name] = self.value(item, (*path, name))
        return merged | own

    def _scalar(self, node: yaml.Node, path: tuple[int | str, ...]) -> Any:
        text, kind = str(node.value), node.tag.removeprefix(TAG)
        if kind == "null" and text in {"~", "null", "Null", "NULL", ""}:
            return None
        if kind == "bool" and text.lower() in {"true", "false"}:
            return text.lower() == "true"
        if kind == "int" or (
            kind == "float" and "." not in text and not text.strip("-+0123456789")
        ):
            return self._integer(text, node, path, real=kind == "float")
        if kind == "float":
            return self._float(text, node, path)
        self._core(node, "str", "merge", "value")
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            self._add(path, node, "the text has a character that no file can hold. Remove it.")
            return text.replace("\0", "").encode(errors="replace").decode()
        return text

    def _integer(
        self, text: str, node: yaml.Node, path: tuple[int | str, ...], *, real: bool
    ) -> int | float | None:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        try:
            found = int(text[2:] if base != 10 else text, base)
            return float(found) if real else found
        except (ValueError, OverflowError):
            self._add(path, node, f"expected a number (got {text[:40]!r}...). Write a shorter one.")
            return None

    def _float(self, text: str, node: yaml.Node, path: tuple[int | str, ...]) -> float | None:
        try:
            found = float(text)
        except ValueError:  # .inf, .nan, or a tag that the text does not fit
            found = float("inf")
        if found - found != 0:
            self._add(path, node, f"expected a finite number (got {text[:40]}). Write one.")
            return None
        return found

    def _core(self, node: yaml.Node, *kinds: str) -> None:
        if node.tag.removeprefix(TAG) not in kinds:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"line {line} has the tag {node.tag}, which is never read")

    def _add(self, path: tuple[int | str, ...], node: yaml.Node, told: str) -> None:
        self.problems.append((path_of(path), f"line {node.start_mark.line + 1}: {told}"))


def _reason(error: yaml.YAMLError) -> str:
    """Return what is wrong and where, without PyYAML's excerpt."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())

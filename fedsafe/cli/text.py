"""Terminal-safe text, and parsing of ``name=value`` settings."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedsafe.errors import ConfigError

KEPT = {"\n", "\t"}


class Interrupted(Exception):  # noqa: N818
    """The user stopped a command; the message says how to go on."""


def plain(text: str) -> str:
    """Return text without control characters, which could move a cursor or forge a line."""
    return "".join(c for c in text if c in KEPT or (c.isprintable() and c not in "\u202e\u2066"))


def safe(text: object) -> str:
    """Return foreign text such that rich prints it as it is: no markup, no control."""
    from rich.markup import escape

    return escape(plain(str(text)))


def settings(changes: Iterable[str] | None) -> dict[str, Any]:
    """Read ``name=value`` texts as a plug-in's settings; values are YAML 1.2.

    Raises:
        ConfigError: A text is not of that form.
    """
    from fedsafe.experiment.yaml_text import scalar_or_collection

    read: dict[str, Any] = {}
    for change in changes or ():
        name, equals, text = change.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {change}: write it as name=value, such as --set steps=20.")
        try:
            read[name.strip()] = scalar_or_collection(text)
        except ConfigError:
            raise ConfigError(f"--set {name}: {text!r} is not a YAML value. Quote it.") from None
    return read


def shown(path: Path) -> str:
    """Return a path relative to here where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)

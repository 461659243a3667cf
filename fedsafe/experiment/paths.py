"""Paths in an experiment: relative to its file, with ``~`` for the home directory.

Which settings are paths, the plug-ins' own annotations say.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fedsafe.contracts import REGISTRIES
from fedsafe.errors import PluginError
from fedsafe.plugins import Plugin


def place(values: Any, home: Path) -> None:
    """Make relative paths absolute, in place, where the file or directory lies in ``home``.

    What lies elsewhere stays as it is written: it may be on another machine, or a name of
    the Hugging Face hub.

    Args:
        values: An experiment's values, as read.
        home: Directory of the experiment's file, or the current one.
    """
    for section, name in (("model", "path"), ("adapter", "start")):
        if isinstance(values, Mapping) and isinstance(values.get(section), dict):
            _place(values[section], frozenset({name}), home)
    _walk(values, home)


def _walk(values: Any, home: Path) -> None:
    if isinstance(values, list):
        for item in values:
            _walk(item, home)
    elif isinstance(values, dict):
        _place(values, path_settings() | _own(values.get("name")), home)
        for item in values.values():
            _walk(item, home)


def _place(section: dict[str, Any], names: frozenset[str], home: Path) -> None:
    for name in names & section.keys():
        text = section[name]
        if isinstance(text, str) and text:
            section[name] = placed(text, home)


def placed(text: str, home: Path) -> str:
    """Return a path as it is to be kept: absolute where it is found in ``home``."""
    try:
        path = Path(text).expanduser()
        if path.is_absolute():
            return str(path) if text.startswith("~") else text
        return str((home / path).absolute()) if (home / path).exists() else text
    except (OSError, ValueError, RuntimeError):  # no name of a file, or no such user
        return text


@cache
def path_settings() -> frozenset[str]:
    """Return the names of the settings of registered plug-ins that are paths."""
    return frozenset(
        name
        for registry in REGISTRIES.values()
        for plugin in registry
        for name in paths_of(registry[plugin])
    )


def paths_of(plugin: Plugin[Any]) -> frozenset[str]:
    """Return the names of a plug-in's settings that are paths."""
    fields = plugin.schema.model_fields.items()
    return frozenset(name for name, field in fields if "Path" in str(field.annotation))


def _own(name: object) -> frozenset[str]:
    """Return the same of a plug-in named by its ``module:object`` path."""
    if not isinstance(name, str) or ":" not in name:
        return frozenset()
    for registry in REGISTRIES.values():
        try:
            return paths_of(registry[name])
        except PluginError:
            continue
    return frozenset()

"""Merge configuration layers: preset, file, ``--set`` overrides."""

from collections.abc import Mapping
from typing import Any

from fedsafe.errors import ConfigError
from fedsafe.experiment.yaml_text import FIRST, parse_value
from fedsafe.validation_errors import Problem

KEPT = frozenset({"filters", "optimizer", "per_block"})
"""What a strategy keeps when its rule is exchanged; other settings belong to the old one."""


def merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay changes over a base; a plug-in of another name replaces the whole choice."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        renamed = isinstance(value, dict) and "name" in value
        if isinstance(old, str) and isinstance(value, dict):
            old = {"name": old}
        if isinstance(old, dict) and isinstance(value, dict) and not renamed:
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def apply(values: dict[str, Any], change: str) -> list[Problem]:
    """Set one dotted path in place; return what is wrong with the text.

    Args:
        values: An experiment's values.
        change: ``a.b=value`` or ``defenses[0].steps=value``; the value is YAML.
    """
    path, equals, text = change.partition("=")
    path = path.strip().replace("[", ".").replace("]", "")
    if not equals or not path or not all(path.split(".")):
        shown = repr(change if len(change) <= 60 else f"{change[:57]}...")
        told = "a change is written path=value, such as federation.rounds=3."
        return [("--set", f"{shown}: {told}")]
    try:
        value, found = parse_value(text, "the value")
    except ConfigError:
        return [(path, f"{text!r} is not a YAML value. Quote it.")]
    if found:
        return [(f"{path}.{below}".rstrip("."), told.removeprefix(FIRST)) for below, told in found]
    return put(values, path, value)


def at(values: Mapping[str, Any], path: str) -> Any:
    """Return what is at a dotted path; None where there is nothing."""
    found: Any = values
    for part in path.split("."):
        found = _step(found, part)[1]
    return found


def put(values: dict[str, Any], path: str, value: Any) -> list[Problem]:
    """Put a value at a dotted path, in place; return what is wrong with the path.

    Plug-ins given by name alone become sections on the way.
    """
    target: Any = values
    keys = path.split(".")
    for key in keys[:-1]:
        place, step = _step(target, key)
        if place is None:
            return [(path, f"there is no item {key} in a list of {len(target)}.")]
        if isinstance(step, str):
            step = {"name": step}
        elif not isinstance(step, dict | list):
            step = {}
        target[place] = step
        target = step
    if isinstance(target, list):
        return [(path, f"name a setting of an item, such as {path}.steps=3.")]
    if len(keys) > 1 and keys[-1] == "name" and target.get("name") not in (None, value):
        for setting in target.keys() - KEPT:
            del target[setting]
    target[keys[-1]] = value
    return []


def _step(target: Any, key: str) -> tuple[Any, Any]:
    """Return the place that a part of a path names, and what is there; None: no such item."""
    if isinstance(target, dict):
        return key, target.get(key)
    if isinstance(target, list) and key.isdecimal() and len(key) < 10 and int(key) < len(target):
        return int(key), target[int(key)]
    return None, None

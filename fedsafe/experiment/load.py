"""From a preset or a YAML file, with changes, to a checked experiment.

Every problem is reported at once, each with its dotted path and what to do.
"""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from fedsafe.errors import ConfigError
from fedsafe.experiment.checks import problems
from fedsafe.experiment.schema import Experiment
from fedsafe.plugins import suggestion

PRESETS = Path(__file__).parent / "presets"
KEPT = frozenset({"filters", "optimizer", "per_block"})
"""What a strategy keeps when its rule is exchanged; other settings belong to the old one."""


def presets() -> dict[str, str]:
    """Return each preset's name and the first sentence of its header."""
    found = sorted(PRESETS.glob("*.yaml"))
    return {path.stem: _headline(path.read_text(encoding="utf-8")) for path in found}


def read_preset(name: str) -> str:
    """Return a preset's text, to be copied and edited.

    Raises:
        ConfigError: There is no preset of that name.
    """
    path = PRESETS / f"{name}.yaml"
    if not path.is_file():
        known = list(presets())
        raise ConfigError(
            f"There is no preset '{name}'.{suggestion(name, known)} Presets: {', '.join(known)}."
        )
    return path.read_text(encoding="utf-8")


def load(reference: str | Path, changes: Iterable[str] = ()) -> Experiment:
    """Return the experiment of a preset, a file or a run directory, checked.

    Args:
        reference: Preset name, path of a YAML file, or run directory.
        changes: ``a.b=value`` texts; values are read as YAML.

    Raises:
        ConfigError: Anything is wrong; the message has one line for each problem.
    """
    values = _read(reference)
    found: list[tuple[str, str]] = []
    for change in changes:
        found += _apply(values, change)
    if found:
        raise ConfigError(_listed(reference, found))
    return validate(values, str(reference))


def validate(values: Mapping[str, Any], origin: str = "experiment") -> Experiment:
    """Return the experiment of these values, checked.

    Raises:
        ConfigError: Anything is wrong; the message has one line for each problem.
    """
    try:
        experiment = Experiment.model_validate(values)
    except ValidationError as error:
        listed = _field_problems(error)
        listed += _cross_problems(values, [detail["loc"] for detail in error.errors()])
        raise ConfigError(_listed(origin, listed)) from None
    if found := problems(experiment):
        raise ConfigError(_listed(origin, found))
    return experiment


def as_yaml(experiment: Experiment) -> str:
    """Return the resolved experiment as YAML that loads back to an equal one."""
    return yaml.safe_dump(json.loads(experiment.as_json()), sort_keys=False)


def _read(reference: str | Path, heirs: tuple[Path, ...] = ()) -> dict[str, Any]:
    path = Path(reference)
    if path.is_dir():
        path = path / "experiment.yaml"
    if path in heirs:
        raise ConfigError(f"{path} inherits from itself: see its key 'preset'.")
    if path.is_file():
        text = path.read_bytes()
    elif path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        raise ConfigError(f"There is no experiment file at {path}. Give a file or a preset's name.")
    else:
        text = read_preset(str(reference)).encode()
    try:
        values = yaml.safe_load(text.decode())
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a mapping of settings; got {type(values).__name__}.")
    base = values.pop("preset", None)
    return values if base is None else _merge(_read(str(base), (*heirs, path)), values)


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay changes over a base; a plug-in of another name replaces the whole choice."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        renamed = isinstance(value, dict) and "name" in value
        if isinstance(old, str) and isinstance(value, dict):
            old = {"name": old}
        if isinstance(old, dict) and isinstance(value, dict) and not renamed:
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _apply(values: dict[str, Any], change: str) -> list[tuple[str, str]]:
    """Set one dotted path in place; return what is wrong with the text."""
    path, equals, text = change.partition("=")
    if not equals or not path.strip():
        return [(change, "a change is written path=value, such as federation.rounds=3.")]
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return [(path, f"{text!r} is not a YAML value. Quote it.")]
    target: Any = values
    keys = path.strip().split(".")
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
        return [(path, f"name a setting of an item, such as {path.strip()}.steps=3.")]
    if len(keys) > 1 and keys[-1] == "name" and target.get("name") not in (None, value):
        for setting in target.keys() - KEPT:
            del target[setting]
    target[keys[-1]] = value
    return []


def _step(target: Any, key: str) -> tuple[Any, Any]:
    """Return the place that a part of a path names, and what is there; None: no such item."""
    if isinstance(target, dict):
        return key, target.get(key)
    if key.isdecimal() and int(key) < len(target):
        return int(key), target[int(key)]
    return None, None


def _field_problems(error: ValidationError) -> list[tuple[str, str]]:
    listed: list[tuple[str, str]] = []
    for detail in error.errors():
        path = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            known = _fields_at(detail["loc"][:-1])
            hint = suggestion(str(detail["loc"][-1]), known)
            listed.append((path, f"unknown setting.{hint} Known here: {', '.join(known)}."))
        else:
            got = "" if detail["type"] == "missing" else f" (got {detail['input']!r})"
            listed.append((path, f"{detail['msg']}{got}."))
    return listed


def _cross_problems(
    values: Mapping[str, Any], wrong: Sequence[tuple[int | str, ...]]
) -> list[tuple[str, str]]:
    """Return what is wrong between the sections, the wrong fields left out.

    Where the rest is no experiment without them, nothing is said.
    """
    rest = copy.deepcopy(dict(values))
    for location in wrong:
        target: Any = rest
        for part in location[:-1]:
            target = target.get(part) if isinstance(target, dict) else None
        if isinstance(target, dict):
            target.pop(location[-1], None)
    try:
        experiment = Experiment.model_validate(rest)
    except ValidationError:
        return []
    sections = {".".join(map(str, location[:2])) for location in wrong}
    return [one for one in problems(experiment) if not one[0].startswith(tuple(sections))]


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Return the setting names of the section at a location."""
    section: type[BaseModel] = Experiment
    for part in location:
        field = section.model_fields.get(str(part))
        if field is None:
            break
        options = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if not nested:
            break
        section = nested[0]
    return list(section.model_fields)


def _listed(origin: str | Path, found: list[tuple[str, str]]) -> str:
    noun = "problem" if len(found) == 1 else "problems"
    lines = "\n".join(f"  {path}: {text}" for path, text in found)
    return f"{origin} has {len(found)} {noun}:\n{lines}"


def _headline(text: str) -> str:
    for line in text.splitlines():
        if line.startswith("#") and line.strip("# "):
            return line.strip("# ")
    return ""

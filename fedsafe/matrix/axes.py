"""The axes of a matrix: their values, each with a label and the settings that it changes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsafe.errors import ConfigError
from fedsafe.experiment.names import all_paths
from fedsafe.experiment.paths import place
from fedsafe.experiment.schema import Experiment
from fedsafe.experiment.seed_list import seed_list
from fedsafe.suggestions import nearest

Label = str
EMPTY: dict[str, Any] = {"attack": None, "alignment": None, "defenses": []}
"""What ``none`` means on these axes."""


@dataclass(frozen=True)
class Axis:
    """One axis of a matrix.

    Attributes:
        name: A dotted setting, or a name of its own for values that change several settings.
        values: For each label the settings that it changes, by dotted path.
    """

    name: str
    values: Mapping[Label, Mapping[str, Any]]


def axes_of(written: Any, base: Mapping[str, Any], home: Path | None) -> Iterator[Axis]:
    """Yield the axes of a matrix.

    Args:
        written: As the file has them.
        base: Values of the experiment, whose defenses' settings are taken over.
        home: Directory that paths are relative to.

    Raises:
        ConfigError: An axis is no setting, or has no value, or two of one name.
    """
    if not isinstance(written, Mapping) or not written:
        raise ConfigError("axes: write at least one, such as `axes: {seed: 0-2}`.")
    for name, values in written.items():
        is_field = str(name).partition(".")[0] in Experiment.model_fields
        found: dict[Label, Mapping[str, Any]] = {}
        for label, changes in _values(str(name), values, base, is_field=is_field):
            if label in found:
                raise ConfigError(
                    f"axes.{name}: two values are called '{label}'. Give each a name of its own, "
                    "such as {name: other, value: ...}."
                )
            found[label] = dict(settings_of(f"axes.{name}.{label}", changes, home))
        if not found:
            raise ConfigError(f"axes.{name}: has no value. Write a list, such as [a, b].")
        yield Axis(str(name), found)


def _values(
    axis: str, written: Any, base: Mapping[str, Any], *, is_field: bool
) -> Iterator[tuple[Label, Mapping[str, Any]]]:
    """Yield label and settings of each value of an axis."""
    if axis == "seed" and isinstance(written, str):
        written = seed_list(written)
    if isinstance(written, Mapping) and not isinstance(written.get("name"), str):
        for label, value in written.items():
            yield str(label), _changes(axis, str(label), value, base, is_field=is_field)
        return
    for value in written if isinstance(written, list | tuple) else [written]:
        keys = set(value) if isinstance(value, Mapping) else set()
        named = {"name", "set"}, {"name", "value"}, {"name", "value", "set"}
        if keys in named:
            rest = {key: part for key, part in value.items() if key != "name"}
            content = rest if "set" in rest else rest["value"]
            yield (
                str(value["name"]),
                _changes(axis, str(value["name"]), content, base, is_field=is_field),
            )
        else:
            yield label_of(value), _changes(axis, label_of(value), value, base, is_field=is_field)


def _changes(
    axis: str, label: str, value: Any, base: Mapping[str, Any], *, is_field: bool
) -> Mapping[str, Any]:
    """Return the settings that a value of an axis changes.

    Raises:
        ConfigError: The axis is no setting, and the value does not name any.
    """
    if isinstance(value, Mapping) and "set" in value and set(value) <= {"set", "value"}:
        several = value["set"]
        if not isinstance(several, Mapping):
            raise ConfigError(f"axes.{axis}.{label}.set: write settings, each as `path: value`.")
        own = {axis: _written(axis, value["value"], base)} if "value" in value else {}
        return {**own, **several}
    if is_field:
        return {axis: _written(axis, value, base)}
    if isinstance(value, Mapping):
        return value
    last = {path.rpartition(".")[2]: path for path in reversed(all_paths())}
    meant = nearest(axis, all_paths()) or last.get(nearest(axis.rpartition(".")[2], last) or "")
    hint = f" Did you mean '{meant}'?" if meant else ""
    raise ConfigError(
        f"axes.{axis}: there is no such setting of an experiment.{hint} An axis of another name "
        "has values that name settings: {low: {training.steps: 2}, high: {training.steps: 9}}."
    )


def _written(axis: str, value: Any, base: Mapping[str, Any]) -> Any:
    """Return a value as an experiment has it: ``none`` is nothing, a defense alone a list."""
    if axis in EMPTY and (value is None or value == "none"):
        return EMPTY[axis]
    if axis == "defenses":
        items = value if isinstance(value, list) else [value]
        return [_with_settings(item, base) for item in items]
    return value


def _with_settings(item: Any, base: Mapping[str, Any]) -> Any:
    """Return a defense with the settings that the experiment gives one of the same name."""
    if isinstance(item, list):
        return [_with_settings(one, base) for one in item]
    given = {"name": item} if isinstance(item, str) else item
    if not isinstance(given, Mapping):
        return item
    for known in _flat(base.get("defenses")):
        if isinstance(known, Mapping) and known.get("name") == given.get("name"):
            return {**known, **given}
    return item


def _flat(written: Any) -> Iterator[Any]:
    for one in written if isinstance(written, list | tuple) else [written]:
        if isinstance(one, list | tuple):
            yield from _flat(one)
        else:
            yield one


def label_of(value: Any) -> Label:
    """Return the label of a value that was given none.

    >>> label_of({"name": "krum", "byzantine": 1}), label_of(["resta", "fine-tune"]), label_of(None)
    ('krum byzantine=1', 'resta+fine-tune', 'none')
    """
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return "+".join(label_of(one) for one in value)
    if isinstance(value, Mapping):
        rest = [f"{key}={label_of(one)}" for key, one in value.items() if key != "name"]
        return " ".join([*([str(value["name"])] if "name" in value else []), *rest])[:80]
    return str(value)


def settings_of(origin: str, written: Any, home: Path | None) -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) of settings that are written dotted.

    Raises:
        ConfigError: They are no mapping.
    """
    if not isinstance(written, Mapping):
        raise ConfigError(f"{origin}: write settings, each as `path: value`.")
    for path, value in written.items():
        dotted = str(path).replace("[", ".").replace("]", "")
        holder = {dotted.rpartition(".")[2]: value}
        if home is not None:
            place({dotted.partition(".")[0]: holder}, home)
        yield dotted, next(iter(holder.values()))

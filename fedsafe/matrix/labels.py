"""Cells that are named by their labels: excluded ones, those with more settings, table layouts."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedsafe.errors import ConfigError
from fedsafe.matrix.axes import Axis, Label, label_of, settings_of
from fedsafe.suggestions import suggestion

Where = Mapping[str, Sequence[Label]]
"""Labels by axis: cells that have one of each."""
TABLE = ("rows", "columns", "measure", "stage", "where")


def exclusions_of(written: Any, axes: Sequence[Axis], origin: str = "exclude") -> Iterator[Where]:
    """Yield labels by axis, such as those of cells that are left out.

    Raises:
        ConfigError: An axis or a label is not there.
    """
    for number, one in enumerate(written if isinstance(written, list | tuple) else [written]):
        at = f"{origin}[{number}]"
        if not isinstance(one, Mapping) or not one:
            raise ConfigError(f"{at}: name values of axes, such as {{{axes[0].name}: ...}}.")
        yield {str(name): chosen(at, str(name), labels, axes) for name, labels in one.items()}


def conditions_of(
    written: Any, axes: Sequence[Axis], home: Path | None
) -> Iterator[tuple[Where, Mapping[str, Any]]]:
    """Yield the settings of cells that have some labels.

    Raises:
        ConfigError: An entry has not the form, or an axis or label is not there.
    """
    for number, one in enumerate(written if isinstance(written, list | tuple) else [written]):
        at = f"when[{number}]"
        if not isinstance(one, Mapping) or set(one) != {"cells", "set"}:
            raise ConfigError(f"{at}: write {{cells: {{AXIS: value}}, set: {{path: value}}}}.")
        (where,) = exclusions_of(one["cells"], axes, at)
        yield where, dict(settings_of(f"{at}.set", one["set"], home))


def chosen(at: str, name: str, labels: Any, axes: Sequence[Axis]) -> Sequence[Label]:
    """Return the labels of an axis that are named.

    Raises:
        ConfigError: There is no such axis, or no such label.
    """
    axis = next((axis for axis in axes if axis.name == name), None)
    if axis is None:
        known = [axis.name for axis in axes]
        raise ConfigError(
            f"{at}: there is no axis '{name}'.{suggestion(name, known)} Axes: {', '.join(known)}."
        )
    found = []
    for value in labels if isinstance(labels, list | tuple) else [labels]:
        label = label_of(value)
        if label not in axis.values:
            known = list(axis.values)
            raise ConfigError(
                f"{at}: axis '{name}' has no value '{label}'.{suggestion(label, known)} "
                f"Values: {', '.join(known)}."
            )
        found.append(label)
    return found


def table_of(written: Any, axes: Sequence[Axis]) -> Mapping[str, Any]:
    """Return how the table is laid out unless told otherwise.

    Raises:
        ConfigError: It names another key, axis or value.
    """
    if not isinstance(written, Mapping):
        raise ConfigError(f"table: write some of {', '.join(TABLE)}.")
    for key, value in written.items():
        if key not in TABLE:
            raise ConfigError(f"table.{key}: unknown key.{suggestion(str(key), TABLE)}")
        if key in {"rows", "columns"}:
            names = value if isinstance(value, list) else [value]
            for name in names:
                chosen(f"table.{key}", str(name), [], axes)
        if key == "where":
            if not isinstance(value, Mapping):
                raise ConfigError("table.where: write values of axes, such as {defenses: none}.")
            for name, labels in value.items():
                chosen("table.where", str(name), labels, axes)
    return dict(written)

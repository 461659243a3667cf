"""The cells of a matrix: one checked experiment for each combination of values."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from fedsafe.errors import ConfigError
from fedsafe.experiment.changes import at, merge, put
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.matrix.axes import Label
from fedsafe.matrix.definition import Definition
from fedsafe.matrix.labels import Where
from fedsafe.runs.store import experiment_hash

MOST = 10_000
"""Cells of one matrix."""
SHOWN = 20
"""Problems that a message lists."""


@dataclass(frozen=True)
class Cell:
    """One combination.

    Attributes:
        name: Of its run directory: its labels, and the beginning of its experiment's hash.
        labels: By axis.
        experiment: What is run.
    """

    name: str
    labels: Mapping[str, Label]
    experiment: Experiment


def cells_of(definition: Definition) -> list[Cell]:
    """Return every cell that is not excluded, each checked.

    Settings of a cell are laid over the experiment as a file over its preset: first the fixed
    part, then those of the axes, outer settings before what lies below them. What lies below a
    section that the cell leaves out (an attack's settings in a cell without attack) is passed over.

    Raises:
        ConfigError: A cell is no experiment, or none is left, or there are too many.
    """
    return cells_with(definition, combinations(definition))


def combinations(definition: Definition) -> Iterator[dict[str, Label]]:
    """Yield a label of each axis, of every cell that is not excluded.

    Raises:
        ConfigError: There are too many.
    """
    count = prod(len(axis.values) for axis in definition.axes)
    if count > MOST:
        raise ConfigError(f"axes: they make {count} cells; at most {MOST} are run at once.")
    names = [axis.name for axis in definition.axes]
    for chosen in product(*(axis.values for axis in definition.axes)):
        labels = dict(zip(names, chosen, strict=True))
        if not any(_among(labels, one) for one in definition.exclude):
            yield labels


def cells_with(definition: Definition, chosen: Iterable[Mapping[str, Label]]) -> list[Cell]:
    """Return the cells with these labels, each checked.

    Raises:
        ConfigError: A cell is no experiment, or there is none.
    """
    found, problems = [], dict[tuple[str, str], list[str]]()
    for labels in chosen:
        try:
            found.append(_cell(definition, labels))
        except ConfigError as error:
            said = ", ".join(f"{axis}={label}" for axis, label in labels.items())
            for problem in getattr(error, "problems", ()) or (("", str(error)),):
                problems.setdefault(problem, []).append(said)
    if problems:
        raise _failure(definition.name, problems)
    if not found:
        raise ConfigError("exclude: it leaves no cell. Take an exclusion out.")
    return found


def _among(labels: Mapping[str, Label], where: Where) -> bool:
    return all(labels[axis] in listed for axis, listed in where.items())


def _cell(definition: Definition, labels: Mapping[str, Label]) -> Cell:
    values = copy.deepcopy(dict(definition.base))
    values["name"] = definition.name
    for path, value in definition.fixed.items():
        _lay(values, path, value)
    changes: dict[str, Any] = {}
    for axis in definition.axes:
        for path, value in axis.values[labels[axis.name]].items():
            if path in changes and changes[path] != value:
                raise ConfigError(f"{path}: two axes set it, to different values.")
            changes[path] = value
    for where, settings in definition.when:
        changes |= settings if _among(labels, where) else {}
    empty = {path for path, value in changes.items() if value in (None, [])}
    for path in sorted(changes, key=lambda path: path.count(".")):
        if not any(path.startswith(f"{above}.") for above in empty):
            _lay(values, path, changes[path])
    experiment = validate(values, definition.name)
    name = f"{_plain(labels)}-{experiment_hash(experiment)[:8]}"
    return Cell(name, dict(labels), experiment.model_copy(update={"name": name}))


def _lay(values: dict[str, Any], path: str, value: Any) -> None:
    """Lay a value over what is at a path, as a file is laid over its preset.

    Raises:
        ConfigError: The path leads nowhere.
    """
    whole = merge({"at": at(values, path)}, {"at": copy.deepcopy(value)})["at"]
    for place, told in put(values, path, whole):
        raise ConfigError(f"{place}: {told}")


def _plain(labels: Mapping[str, Label]) -> str:
    """Return labels as part of a file's name."""
    parts = (re.sub(r"[^A-Za-z0-9.]+", "-", label).strip("-.") for label in labels.values())
    return "_".join(part[:24] or "x" for part in parts)[:80].strip("-_.") or "cell"


def _failure(name: str, problems: Mapping[tuple[str, str], Sequence[str]]) -> ConfigError:
    """Return one error of all problems, each with a cell that has it."""
    lines = []
    for (path, told), cells in list(problems.items())[:SHOWN]:
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        lines.append(f"  {f'{path}: ' if path else ''}{told} (cell {cells[0]}{more})")
    if len(problems) > SHOWN:
        lines.append(f"  and {len(problems) - SHOWN} more.")
    noun = "problem" if len(problems) == 1 else "problems"
    advice = "Correct the values, or leave such cells out with `exclude`."
    error = ConfigError(
        "\n".join([f"{name} has {len(problems)} {noun} in its cells. {advice}", *lines])
    )
    error.problems = tuple(problems)
    return error

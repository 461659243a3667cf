"""The directory of a matrix: what it holds, what is done, what was measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedsafe.errors import ConfigError, RunError
from fedsafe.matrix import estimate
from fedsafe.matrix.axes import Label
from fedsafe.matrix.cells import cells_of
from fedsafe.matrix.definition import Definition
from fedsafe.matrix.labels import chosen
from fedsafe.matrix.plan import Plan, plan_of
from fedsafe.runs.addresses import check_local
from fedsafe.runs.checksums import read_sealed
from fedsafe.runs.files import read_lines
from fedsafe.runs.matrix_records import DEFINITION, FILE, LEDGER, MatrixRecord, StageRecord

SPEEDS = "speeds.json"


@dataclass
class Matrix:
    """A matrix, its plan and its directory."""

    definition: Definition
    plan: Plan
    directory: Path

    def check(self) -> None:
        """See that the directory is free, or holds this matrix, perhaps with other axes.

        Raises:
            RunError: It holds something else.
            ConfigError: It is no directory but an address.
        """
        home = self.directory
        check_local(home)
        if home.exists() and not home.is_dir():
            raise RunError(f"{home} is a file. Choose another directory with -o.")
        known = read_record(home) if (home / FILE).is_file() else None
        if known is not None and known.name != self.definition.name:
            raise RunError(
                f"{home} holds the matrix '{known.name}'. Choose another directory with -o."
            )
        names = {path.name for path in home.iterdir()} if home.is_dir() else set()
        if known is None and any(not name.startswith(".") for name in names - {DEFINITION}):
            raise RunError(
                f"{home} is not empty and holds no matrix. Choose another directory with -o."
            )

    def ended(self) -> dict[str, StageRecord]:
        """Return the stages and cells that are done, by id."""
        found = {}
        for row in read_lines(self.directory / LEDGER):
            record = StageRecord.model_validate(row)
            if record.status == "done":
                found[record.stage] = record
        return found

    def speeds(self) -> Mapping[str, estimate.Speed]:
        """Return what was measured of the models, now or when it was first asked."""
        path = self.directory / SPEEDS
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        needed = {estimate.group(cell.experiment) for cell in self.plan.cells}
        if needed <= kept.keys():
            return {name: estimate.Speed(**values) for name, values in kept.items()}
        return estimate.speeds(self.plan)


def prepare(
    definition: Definition,
    directory: Path | None = None,
    changes: Mapping[str, Any] | None = None,
    only: Mapping[str, Sequence[Label]] | None = None,
) -> Matrix:
    """Return a matrix with its plan, checked; nothing is run or written.

    Args:
        definition: What its file says.
        directory: Where it runs; None: ``runs/<name>-matrix``.
        changes: Settings of every cell, by dotted path.
        only: Labels to keep, by axis.

    Raises:
        ConfigError: A cell is no experiment, or an axis or label is not there, or it is a search.
    """
    if definition.search is not None:
        raise ConfigError(
            f"{definition.name} has a `search:`, whose settings are chosen as it goes. Run it with "
            "`fedsafe matrix search`."
        )
    cut = narrowed(definition, changes, only)
    return Matrix(cut, plan_of(cells_of(cut)), directory or default_directory(cut))


def default_directory(definition: Definition) -> Path:
    """Return where a matrix runs unless told otherwise."""
    return Path("runs") / f"{definition.name}-matrix"


def narrowed(
    definition: Definition,
    changes: Mapping[str, Any] | None = None,
    only: Mapping[str, Sequence[Label]] | None = None,
) -> Definition:
    """Return a matrix with further settings of every cell, and with some labels of axes alone.

    Raises:
        ConfigError: An axis or label is not there, or an axis or a search sets what is changed.
    """
    kept = {
        name: chosen("only", name, labels, definition.axes) for name, labels in (only or {}).items()
    }
    axes = [
        replace(axis, values={k: v for k, v in axis.values.items() if k in kept[axis.name]})
        if axis.name in kept
        else axis
        for axis in definition.axes
    ]
    sought = [] if definition.search is None else definition.search.space.sides
    for path in changes or ():
        if any(path in value for axis in definition.axes for value in axis.values.values()):
            raise ConfigError(f"--set {path}: an axis sets it. Choose its values with --only.")
        if any(path == side.name for side in sought):
            raise ConfigError(f"--set {path}: search.space has it. Change it in the file.")
    return replace(definition, axes=axes, fixed={**definition.fixed, **(changes or {})})


def read_record(directory: Path) -> MatrixRecord:
    """Return matrix.json.

    Raises:
        RunError: It is not there, or was changed.
    """
    if not (directory / FILE).is_file():
        raise RunError(
            f"{directory} is no matrix directory: it has no {FILE}. Give the directory that "
            "`fedsafe matrix run` printed."
        )
    return MatrixRecord.model_validate(read_sealed(directory / FILE))

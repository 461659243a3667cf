"""The directory of a matrix: what it holds, what is done, what was measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedsafe.errors import RunError
from fedsafe.matrix import estimate
from fedsafe.matrix.definition import Definition
from fedsafe.matrix.plan import Plan
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
        """
        home = self.directory
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

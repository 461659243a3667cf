"""The results of a matrix: one row a cell and stage, and tables of one measure over seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsafe.errors import ConfigError
from fedsafe.experiment.pipelines import AGAIN
from fedsafe.matrix.axes import Axis
from fedsafe.matrix.directory import read_record
from fedsafe.matrix.labels import chosen
from fedsafe.matrix.spread import interval, mean_of
from fedsafe.runs.failed_stages import counted
from fedsafe.runs.matrix_records import CSV, CellRecord, MatrixRecord, MatrixTable, TableCell
from fedsafe.runs.records import Stage
from fedsafe.runs.scores import Display, Rate, all_displays, display_of
from fedsafe.runs.store import Store
from fedsafe.suggestions import suggestion

if TYPE_CHECKING:
    import pandas as pd

FINAL = "final"
"""The last model of a cell: after its defenses, where it has any, and before second attacks."""
SEED = "seed"
MEASURE = "refusal"


@dataclass(frozen=True)
class MatrixFrames:
    """A matrix as pandas frames.

    Attributes:
        directory: The matrix directory.
        record: What matrix.json says.
        frame: One row a cell and stage: a column for each axis, ``cell``, ``directory``,
            ``stage``, ``final`` (whether it is the cell's last model), ``status`` (a defense that
            failed has the values of the model that it was given), ``seconds``, and each measure
            as ``unsafe``, ``unsafe.n``, ``unsafe.low``, ``unsafe.high``, under a condition as
            ``unsafe@prefilled``; shares in [0, 1].
        cells: One row a cell: axes, ``cell``, ``status``, ``reason``.
    """

    directory: Path
    record: MatrixRecord
    frame: "pd.DataFrame"
    cells: "pd.DataFrame"


class Results:
    """What the cells of a matrix found, read from their runs."""

    def __init__(self, directory: Path) -> None:
        """Read the record and every finished cell.

        Raises:
            RunError: It is no matrix directory, or a record was changed.
        """
        self.directory = directory
        self.record = read_record(directory)
        self.axes = [Axis(name, {label: {} for label in v}) for name, v in self.record.axes.items()]
        self.stages = {cell.name: self._stages(cell) for cell in self.record.cells}

    def _stages(self, cell: CellRecord) -> list[Stage]:
        summary = Store(self.directory / cell.directory).summary()
        return [] if summary is None else counted(summary.stages)

    def frames(self) -> MatrixFrames:
        """Return them as pandas frames."""
        import pandas as pd

        rows = [row for cell in self.record.cells for row in self._rows(cell)]
        cells = [
            {**cell.labels, "cell": cell.name, "status": cell.status, "reason": cell.reason}
            for cell in self.record.cells
        ]
        return MatrixFrames(self.directory, self.record, pd.DataFrame(rows), pd.DataFrame(cells))

    def write_csv(self, path: Path | None = None) -> Path:
        """Write the frame as CSV, and return its path."""
        target = path or self.directory / CSV
        self.frames().frame.to_csv(target, index=False)
        return target

    def _rows(self, cell: CellRecord) -> Iterator[dict[str, Any]]:
        stages = self.stages[cell.name]
        last = last_stages(cell, stages)
        for stage in stages:
            facts = {
                **cell.labels,
                "cell": cell.name,
                "directory": cell.directory,
                "stage": stage.name,
                "final": stage in last,
                "status": stage.status,
                "judge": stage.judge,
                "seconds": stage.seconds,
            }
            for key, rate in stage.scores.measures.items():
                facts |= {key: rate.value, f"{key}.n": rate.n}
                facts |= {f"{key}.low": rate.low, f"{key}.high": rate.high}
            yield facts

    def table(
        self,
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        measure: str = "",
        stage: str = "",
        where: Mapping[str, Any] | None = None,
    ) -> MatrixTable:
        """Return one measure, rows by columns, over seeds; what is empty as the matrix says.

        Args:
            rows: Axes of the rows; else the first axis.
            columns: Axes of the columns; else all others but the seed.
            measure: Such as ``refusal`` or ``unsafe@prefilled``.
            stage: Such as ``attacked``; ``final``: each cell's last model.
            where: Labels to keep, by axis.

        Raises:
            ConfigError: There is no such axis, value, measure or stage.
        """
        kept = self.record.table
        rows = list(rows) or _listed(kept.get("rows")) or [self.axes[0].name]
        others = [axis.name for axis in self.axes if axis.name not in {*rows, SEED}]
        columns = list(columns) or _listed(kept.get("columns")) or others
        self._check(*rows, *columns)
        asked = kept.get("where") or {} if where is None else where
        limits = {name: list(chosen("where", name, one, self.axes)) for name, one in asked.items()}
        labels = {axis.name: limits.get(axis.name, list(axis.values)) for axis in self.axes}
        measure, stage = measure or kept.get("measure", MEASURE), stage or kept.get("stage", FINAL)
        rest = [name for name in labels if name not in {*rows, *columns}]
        found = MatrixTable(
            measure=measure,
            stage=stage,
            rows=rows,
            columns=columns,
            row_labels=[list(one) for one in product(*(labels[name] for name in rows))],
            column_labels=[list(one) for one in product(*(labels[name] for name in columns))],
            cells=[],
            display=self._display(measure, stage),
            averaged={name: len(labels[name]) for name in rest if len(labels[name]) > 1},
            where=limits,
        )
        return _without_empty(found.model_copy(update={"cells": self._cells(found, labels)}))

    def _check(self, *names: str) -> None:
        for name in names:
            chosen("table", name, [], self.axes)

    def _cells(
        self, table: MatrixTable, labels: Mapping[str, Sequence[str]]
    ) -> list[list[TableCell]]:
        among = [
            cell
            for cell in self.record.cells
            if all(cell.labels[name] in listed for name, listed in labels.items())
        ]
        share = table.display is None or table.display.unit == "share"
        names = [*table.rows, *table.columns]
        sorted_in: dict[tuple[str, ...], list[CellRecord]] = {}
        for cell in among:
            sorted_in.setdefault(tuple(cell.labels[name] for name in names), []).append(cell)
        return [
            [self._cell(sorted_in.get((*row, *column), []), table, share=share)
             for column in table.column_labels]
            for row in table.row_labels
        ]  # fmt: skip

    def _cell(self, cells: Sequence[CellRecord], table: MatrixTable, *, share: bool) -> TableCell:
        """Return mean and interval: over seeds, or of the prompts where there is one run."""
        by_seed: dict[str, list[Rate]] = {}
        for cell in cells:
            rate = self._rate(cell, table)
            if rate is not None and rate.value is not None:
                by_seed.setdefault(cell.labels.get(SEED, ""), []).append(rate)
        failed = sum(cell.status == "failed" for cell in cells)
        runs = sum(map(len, by_seed.values()))
        if not by_seed:
            return TableCell(failed=failed)
        means = {seed: mean_of(rates) for seed, rates in by_seed.items()}
        low, high = interval(by_seed, means, share=share)
        mean = sum(means.values()) / len(means)
        return TableCell(mean=mean, low=low, high=high, runs=runs, failed=failed, seeds=means)

    def _rate(self, cell: CellRecord, table: MatrixTable) -> Rate | None:
        stages = self.stages[cell.name]
        if table.stage == FINAL:
            found = last_stages(cell, stages)
        else:
            found = [stage for stage in stages if stage.name == table.stage]
        return found[0].scores.measures.get(table.measure) if found else None

    def _display(self, measure: str, stage: str) -> Display | None:
        """Return how a measure is shown.

        Raises:
            ConfigError: No stage has it, or there is no such stage.
        """
        every = [one for stages in self.stages.values() for one in stages]
        measures = list(dict.fromkeys(key for one in every for key in one.scores.measures))
        names = [FINAL, *dict.fromkeys(one.name for one in every)]
        if every and measure not in measures:
            hint = suggestion(measure, measures)
            raise ConfigError(
                f"There is no measure '{measure}'.{hint} Measures: {', '.join(measures)}."
            )
        if every and stage not in names:
            raise ConfigError(f"There is no stage '{stage}'.{suggestion(stage, names)}")
        return display_of(measure, all_displays(one.scores for one in every))


def last_stages(cell: CellRecord, stages: Sequence[Stage]) -> list[Stage]:
    """Return a cell's last model, after its defenses and before second attacks; empty: it has none.

    A defense that failed leaves the model that it was given; a federation that failed leaves none.
    """
    last = [stage for stage in stages if not stage.name.startswith(AGAIN)][-1:]
    repaired = cell.status == "done" or any(stage.status == "failed" for stage in last)
    return last if repaired else []


def _listed(value: Any) -> list[str]:
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def _without_empty(table: MatrixTable) -> MatrixTable:
    """Leave out rows and columns that no cell belongs to, such as excluded ones."""

    def empty(cells: Sequence[TableCell]) -> bool:
        return all(cell.runs == 0 and cell.failed == 0 for cell in cells)

    kept_rows = [i for i, row in enumerate(table.cells) if not empty(row)]
    width = range(len(table.column_labels))
    kept_columns = [j for j in width if not empty([row[j] for row in table.cells])]
    return table.model_copy(
        update={
            "row_labels": [table.row_labels[i] for i in kept_rows],
            "column_labels": [table.column_labels[j] for j in kept_columns],
            "cells": [[table.cells[i][j] for j in kept_columns] for i in kept_rows],
        }
    )

"""Run a matrix into a directory, or what is left of it.

The directory has a run directory for each cell, the finished stages that they share, and a line
for each that ended: what is done is not done again, by whatever command or machine.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fedsafe.errors import RunError
from fedsafe.matrix import estimate
from fedsafe.matrix.cells import Cell
from fedsafe.matrix.directory import SPEEDS, Matrix, read_record
from fedsafe.matrix.plan import Stage
from fedsafe.matrix.pools import Pool
from fedsafe.matrix.schedule import Node, work_off
from fedsafe.matrix.work import Result, Task
from fedsafe.plugin_modules import directories
from fedsafe.runs.checksums import write_sealed
from fedsafe.runs.files import append_line, flock, private_directory, write_text
from fedsafe.runs.matrix_records import (
    CELLS,
    DEFINITION,
    FILE,
    LEDGER,
    WORK,
    CellRecord,
    MatrixRecord,
    StageRecord,
)

LATE = frozenset({"defense", "second-attack"})
"""Kinds of stages whose failure leaves the rest of a cell's run to be done."""
Tell = Callable[[str, dict[str, Any]], None]
"""Called with what happens: ``begin`` or ``end`` of a stage or cell, with its facts."""


def run(
    matrix: Matrix,
    pool: Pool,
    tell: Tell,
    *,
    failed: dict[str, str] | None = None,
    close: bool = True,
) -> MatrixRecord:
    """Do what is left of a matrix; a stage or cell that fails does not stop the others.

    Args:
        matrix: What is run.
        pool: Where.
        tell: Called with what happens.
        failed: Reasons of what failed, by id of the stage or cell: they are not tried again, and
            what fails now is added. None: all is tried.
        close: Whether the pool ends when all is done; else it can be given more.

    Raises:
        RunError: The directory holds something else, or another process works in it.
        KeyboardInterrupt: It was stopped; what is done is kept.
    """
    matrix.check()
    private_directory(matrix.directory)

    def taken(holder: str) -> RunError:
        return RunError(f"Another process ({holder}) runs the matrix in {matrix.directory}.")

    with flock(matrix.directory / ".lock", taken, patience=3.0):
        return _Running(matrix, tell, {} if failed is None else failed).work(pool, close=close)


class _Running:
    """One attempt to finish a matrix."""

    def __init__(self, matrix: Matrix, tell: Tell, reasons: dict[str, str]) -> None:
        self._matrix, self._tell = matrix, tell
        self._home, self._plan = matrix.directory, matrix.plan
        self._stages = {stage.id: stage for stage in matrix.plan.stages.values()}
        self._speeds = matrix.speeds()
        self._begun = time.perf_counter()
        self._reasons = reasons
        path = self._home / FILE
        self._before = read_record(self._home).seconds if path.is_file() else 0.0
        self._ended = matrix.ended()
        kept = {name: asdict(speed) for name, speed in self._speeds.items()}
        write_text(self._home / SPEEDS, json.dumps(kept, indent=1) + "\n")
        write_text(self._home / DEFINITION, matrix.definition.text)

    def work(self, pool: Pool, *, close: bool) -> MatrixRecord:
        """Do what is left, and return the record."""
        self._write("running")
        ended = {**dict.fromkeys(self._reasons, False), **dict.fromkeys(self._ended, True)}
        try:
            work_off(self._nodes(), ended, pool, self._end, self._begin)
        except KeyboardInterrupt:
            pool.close()
            self._write("interrupted")
            raise
        if close:
            pool.close()
        lost = any(cell.name in self._failed_cells() for cell in self._plan.cells)
        return self._write("failed" if lost else "completed")

    def _nodes(self) -> dict[str, Node]:
        """Return the tasks, each cell's run behind the last of its stages."""
        nodes: dict[str, Node] = {}
        keys = self._plan.stages
        for cell in self._plan.cells:
            listed = [keys[key] for key in self._plan.of_cell[cell.name]]
            for stage in listed:
                after = [keys[key].id for key in stage.after]
                nodes.setdefault(stage.id, Node(self._task(stage), after=after))
            needed = [stage.id for stage in listed if stage.kind not in LATE]
            ended = [stage.id for stage in listed]
            nodes[f"cell:{cell.name}"] = Node(self._run(cell), after=needed, ended=ended)
        return nodes

    def _run(self, cell: Cell) -> Task:
        return Task(
            id=f"cell:{cell.name}",
            root=str(self._home.absolute()),
            directory=str(self._home.absolute() / CELLS / cell.name),
            experiment=json.loads(cell.experiment.as_json()),
            stage=False,
            modules=directories(),
        )

    def _task(self, stage: Stage) -> Task:
        alone = stage.experiment.model_copy(update={"name": f"stage-{stage.id}"})
        return Task(
            id=stage.id,
            root=str(self._home.absolute()),
            directory=str(self._home.absolute() / WORK / stage.id),
            experiment=json.loads(alone.as_json()),
            until=stage.name if stage.kind in {"base", "aligned"} else "",
            modules=directories(),
        )

    def _facts(self, name: str) -> dict[str, Any]:
        stage = self._stages.get(name)
        if stage is None:
            cell = name.removeprefix("cell:")
            return {"stage": name, "kind": "cell", "name": "cell", "cell": cell}
        return {"stage": name, "kind": stage.kind, "name": stage.name, "cell": stage.cell}

    def _begin(self, name: str) -> None:
        self._tell("begin", self._facts(name))

    def _end(self, name: str, result: Result) -> None:
        """Write down how a stage or cell ended."""
        reason = result.reason
        if not result.done and reason in self._reasons:  # the id of a stage that it needs
            reason = f"stage {self._facts(reason)['name']} failed: {self._reasons[reason]}"
        if not result.done:
            self._reasons[name] = reason
        stage = self._stages.get(name)
        speed = self._speeds[estimate.group(stage.experiment)] if stage else None
        record = StageRecord(
            **self._facts(name),
            status="done" if result.done else "failed",
            reason=reason,
            seconds=result.seconds,
            units=estimate.reckoned(stage, speed) if stage and speed else 0.0,
            worker=result.worker,
            cpu=result.cpu,
        )
        append_line(self._home / LEDGER, record.model_dump(mode="json"))
        if result.done:
            self._ended[name] = record
        if record.kind == "cell":
            self._write("running")
        left = estimate.estimate(self._plan, self._speeds, self._ended).seconds
        facts = record.model_dump(mode="json", exclude={"version"})
        names = [*self._stages, *(f"cell:{cell.name}" for cell in self._plan.cells)]
        done, total = sum(one in self._ended for one in names), len(names)
        self._tell("end", {**facts, "done": done, "total": total, "left": left})

    def _failed_cells(self) -> dict[str, str]:
        prefix = "cell:"
        return {
            name.removeprefix(prefix): reason
            for name, reason in self._reasons.items()
            if name.startswith(prefix)
        }

    def _write(self, status: str) -> MatrixRecord:
        plan, failed = self._plan, self._failed_cells()
        cells = []
        for cell in plan.cells:
            done = f"cell:{cell.name}" in self._ended
            cells.append(
                CellRecord(
                    name=cell.name,
                    labels=dict(cell.labels),
                    directory=f"{CELLS}/{cell.name}",
                    stages=[plan.stages[key].id for key in plan.of_cell[cell.name]],
                    status="done" if done else "failed" if cell.name in failed else "planned",
                    reason=failed.get(cell.name, ""),
                )
            )
        total, sets = plan.data_sets()
        record = MatrixRecord.model_validate(
            {
                "name": self._matrix.definition.name,
                "status": status,
                "axes": {axis.name: list(axis.values) for axis in self._matrix.definition.axes},
                "cells": cells,
                "stages_total": plan.total,
                "stages_planned": len(plan.stages),
                "stages_done": sum(name in self._ended for name in self._stages),
                "data_sets_total": total,
                "data_sets_planned": sets,
                "seconds": self._before + time.perf_counter() - self._begun,
                "table": dict(self._matrix.definition.table),
            }
        )
        write_sealed(self._home / FILE, record.plain())
        return record

"""What ``fedsafe matrix`` prints: progress, the plan, a table."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from fedsafe.cli.tables import console, plain_table
from fedsafe.cli.text import safe, shown
from fedsafe.matrix.directory import Matrix
from fedsafe.matrix.estimate import Estimate
from fedsafe.matrix.running import Tell
from fedsafe.report.bars import quality
from fedsafe.report.matrix_page import over
from fedsafe.report.measures import NONE, Measure, duration, size
from fedsafe.runs.matrix_records import CSV, MatrixRecord, MatrixTable, TableCell

WIDE = 6
"""Columns above which intervals are cut to whole points."""
LISTED = 20
"""Failed cells that are listed."""
KINDS = {"begin": "stage-begin", "end": "stage-end", "search": "search-settings"}
"""What is told of a matrix that runs, as JSON lines call it."""


@contextmanager
def progress(*, as_json: bool) -> Iterator[Tell]:
    """Yield what is called with each stage that begins or ends: a line, or a JSON line."""
    out = console()

    def tell(kind: str, facts: dict[str, Any]) -> None:
        if as_json:
            typer.echo(json.dumps({"time": round(time.time(), 3), "kind": KINDS[kind], **facts}))
            return
        if kind == "search":
            out.print(f"[bold]setting {facts['settings']} of {facts['of']}[/bold]")
        if kind != "end":
            return
        took = "" if facts["status"] == "failed" else duration(facts["seconds"])
        left = f", {duration(facts['left'])} of work left" if facts["left"] else ""
        out.print(
            f"[dim]{facts['done']:>5}/{facts['total']}[/dim] {safe(facts['name']):<24} "
            f"[dim]{safe(facts['cell'])}[/dim] {took}[dim]{left}[/dim]",
            soft_wrap=True,
        )
        if facts["status"] == "failed":
            out.print(f"      [red]failed[/red]: {safe(facts['reason'])}", soft_wrap=True)

    yield tell


def summary(directory: Path, record: MatrixRecord, page: Path) -> None:
    """Print the table of a matrix, what failed, and where the results lie."""
    from fedsafe.errors import ConfigError
    from fedsafe.matrix.results import Results

    out = console()
    try:
        table(Results(directory).table())
    except ConfigError as error:  # the file's own table names what no cell has
        out.print(f"[yellow]{safe(error)}[/yellow]", soft_wrap=True)
    failed = [cell for cell in record.cells if cell.status == "failed"]
    for cell in failed[:LISTED]:
        out.print(f"[red]{safe(cell.name)} failed[/red]: {safe(cell.reason)}", soft_wrap=True)
    if len(failed) > LISTED:
        out.print(f"and {len(failed) - LISTED} more.")
    done = sum(cell.status == "done" for cell in record.cells)
    out.print(
        f"[dim]cells  [/dim]  {done} of {len(record.cells)} done, from {record.stages_done} stages "
        f"made for {record.stages_total}",
        soft_wrap=True,
    )
    for name, path in (("runs", directory / "cells"), ("csv", directory / CSV), ("report", page)):
        out.print(f"[dim]{name:<7}[/dim]  {safe(shown(path))}", soft_wrap=True)
    out.print(f"[dim]time   [/dim]  {duration(record.seconds)}")


def plan_values(matrix: Matrix, found: Estimate | None, why: str) -> dict[str, Any]:
    """Return the plan as JSON values."""
    plan, users = matrix.plan, matrix.plan.users()
    total, made = plan.data_sets()
    return {
        "name": matrix.definition.name,
        "directory": str(matrix.directory),
        "cells": [{"name": cell.name, "labels": dict(cell.labels)} for cell in plan.cells],
        "stages": [
            {
                "id": stage.id,
                "kind": stage.kind,
                "name": stage.name,
                "cell": stage.cell,
                "cells": users[key],
                "after": [plan.stages[one].id for one in stage.after],
            }
            for key, stage in plan.stages.items()
        ],
        "stages_total": plan.total,
        "stages_planned": len(plan.stages),
        "data_sets_total": total,
        "data_sets_planned": made,
        "estimate": None if found is None else vars(found),
        "no_estimate": why,
    }


def plan(
    matrix: Matrix, found: Estimate | None, why: str, *, workers: int = 1, every: bool = False
) -> None:
    """Print the plan, and what is to be expected."""
    out, made = console(), matrix.plan
    axes = " × ".join(f"{len(axis.values)} {axis.name}" for axis in matrix.definition.axes)  # noqa: RUF001
    out.print(
        f"[bold]{safe(matrix.definition.name)}[/bold]: {len(made.cells)} cells ({safe(axes)})"
    )
    kinds = Counter(_kind(stage.name) for stage in made.stages.values())
    users = Counter(_kind(made.stages[key].name) for keys in made.of_cell.values() for key in keys)
    rows = plain_table()
    for heading in ("stage", "in all cells", "to be made"):
        rows.add_column(heading, justify="left" if heading == "stage" else "right")
    for kind, count in kinds.items():
        rows.add_row(safe(kind), str(users[kind]), str(count))
    total, sets = made.data_sets()
    rows.add_row("[bold]all stages[/bold]", str(made.total), f"[bold]{len(made.stages)}[/bold]")
    if total:
        rows.add_row("data sets that attackers write", str(total), str(sets))
    out.print(rows)
    if every:
        for key, stage in made.stages.items():
            shared = made.users()[key]
            out.print(f"{stage.id}  {safe(stage.name):<28} {shared:>4} cells  {safe(stage.cell)}")
    _expected(matrix, found, why, workers)


def _expected(matrix: Matrix, found: Estimate | None, why: str, workers: int) -> None:
    out = console()
    if found is None:
        out.print(f"[yellow]No estimate: {safe(why)}[/yellow]", soft_wrap=True)
        return
    source = (
        f"from the {found.measured} stages that ran" if found.measured
        else "a first estimate, from short measurements of the model"
    )  # fmt: skip
    out.print(f"time   {duration(found.seconds)} of work left, {source}", soft_wrap=True)
    if workers > 1:
        out.print(f"       about {duration(found.seconds / workers)} with {workers} processes")
    if found.measured and found.unknown:
        out.print(f"       no stage ran yet of: {safe(', '.join(found.unknown))}", soft_wrap=True)
    out.print(f"disk   {size(found.disk)} in all, in {safe(shown(matrix.directory))}")


def _kind(name: str) -> str:
    """Return what a stage is called in the plan: the control and an honest run are one."""
    return (
        "honest federation"
        if name in {"clean", "trained"}
        else ("attacked federation" if name == "attacked" else name)
    )


def table(found: MatrixTable) -> None:
    """Print one measure, rows by columns."""
    out, measure = console(), Measure(found.measure, found.display)
    rows = plain_table(
        title=f"{safe(measure.label)}{measure.arrow} of the "
        f"{'last model' if found.stage == 'final' else f'stage {safe(found.stage)}'}",
        caption=safe(over(found)),
    )
    rows.add_column(safe(", ".join(name.rpartition(".")[2] for name in found.rows)), no_wrap=True)
    for labels in found.column_labels:
        rows.add_column(safe("\n".join(labels)), justify="right", overflow="fold")
    for labels, cells in zip(found.row_labels, found.cells, strict=True):
        short = len(cells) > WIDE
        said = (_cell(measure, cell, short=short) for cell in cells)
        rows.add_row(safe(" · ".join(labels)), *said)
    out.print(rows)


def _cell(measure: Measure, cell: TableCell, *, short: bool) -> str:
    lost = f"\n[yellow]{cell.failed} failed[/yellow]" if cell.failed else ""
    if cell.mean is None:
        return f"[dim]{NONE}[/dim]{lost}"
    value = measure.say(cell.mean)
    color = {"good": "green", "bad": "red"}.get(quality(measure.goodness(cell.mean)), "")
    value = f"[{color}]{value}[/{color}]" if color else value
    if cell.low is None or cell.high is None:
        return f"{value}{lost}"
    ends = (cell.low, cell.high)
    if short and measure.is_share:
        low, high = (f"{100 * end:.0f}" for end in ends)
    else:
        low, high = (measure.say(end).removesuffix(" %") for end in ends)
    return f"{value}\n[dim]{low}–{high}[/dim]{lost}"  # noqa: RUF001

"""The records of a matrix: matrix.json and the line of each stage that ended.

Knows nothing of how any of it came about.
"""

from typing import Any, Literal

from pydantic import Field

from fedsafe.runs.scores import Display, Record

FILE = "matrix.json"
"""Name of the record in a matrix directory."""
PAGE, CSV, LEDGER, DEFINITION = "matrix.html", "matrix.csv", "stages.jsonl", "matrix.yaml"
CELLS, STAGES, WORK, SAMPLES = "cells", "stages", "work", "samples"
"""Directories: a run for each cell; finished stages; unfinished ones; data sets of attackers."""


class StageRecord(Record):
    """A line of stages.jsonl: a stage of the plan that ended."""

    stage: str
    """Beginning of its key."""
    kind: Literal["base", "aligned", "federation", "defense", "second-attack", "cell"]
    name: str
    cell: str
    """The first cell that has it."""
    status: Literal["done", "failed"]
    reason: str = ""
    seconds: float = 0.0
    """Wall time of the process that made it."""
    cpu: float = 0.0
    """CPU seconds of that process, which a busy machine does not change."""
    units: float = 0.0
    """Work in it, as the estimate counts it before it ran; in seconds of the first estimate."""
    worker: str = ""
    """Host and process."""


class CellRecord(Record):
    """One cell."""

    name: str
    labels: dict[str, str]
    """By axis."""
    directory: str
    """Of its run, relative to the matrix directory."""
    stages: list[str]
    """Its stages' ids."""
    status: Literal["planned", "done", "failed"] = "planned"
    reason: str = ""


class MatrixRecord(Record):
    """matrix.json: the plan, and how far it is."""

    version: int = 1
    name: str
    status: Literal["running", "completed", "failed", "interrupted"] = "running"
    axes: dict[str, list[str]]
    """Labels of each axis, in order."""
    cells: list[CellRecord]
    stages_total: int
    """Stages of all cells if nothing were shared."""
    stages_planned: int
    """Stages after sharing."""
    stages_done: int = 0
    data_sets_total: int = 0
    """Attackers' data sets written by models if nothing were shared."""
    data_sets_planned: int = 0
    seconds: float = 0.0
    """Seconds that every attempt took, together."""
    table: dict[str, Any] = Field(default_factory=dict)
    """How it is shown unless told otherwise."""


class TableCell(Record):
    """A measure of a row and a column, over seeds."""

    mean: float | None = None
    low: float | None = None
    """Ends of the 95 % interval: Student's t over seeds, or the prompts' own with one run."""
    high: float | None = None
    runs: int = 0
    failed: int = 0
    """Cells that failed, which count nowhere."""
    seeds: dict[str, float] = Field(default_factory=dict)
    """Its value with each seed."""


class MatrixTable(Record):
    """One measure of a matrix, rows by columns."""

    measure: str
    stage: str
    rows: list[str]
    """Axes of the rows."""
    columns: list[str]
    row_labels: list[list[str]]
    column_labels: list[list[str]]
    cells: list[list[TableCell]]
    display: Display | None = None
    averaged: dict[str, int] = Field(default_factory=dict)
    """Other axes that are averaged over, with the number of their values."""
    where: dict[str, list[str]] = Field(default_factory=dict)
    """Labels that were chosen."""

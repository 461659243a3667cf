"""Frames, tables, CSV and page of a finished matrix."""

import csv
from pathlib import Path

import pytest

from fedsafe.errors import ConfigError, RunError
from fedsafe.matrix.library import read_matrix
from fedsafe.matrix.results import MatrixFrames, Results
from fedsafe.matrix.spread import interval
from fedsafe.report.matrix_page import render_matrix
from fedsafe.runs.matrix_records import MatrixTable, TableCell
from fedsafe.runs.scores import Rate
from fedsafe.runs.store import Store
from tests.unit.fedsafe.report.page_check import check


def test_frame_has_a_row_for_each_cell_and_stage(found: MatrixFrames) -> None:
    counted = found.frame.groupby(["attack", "defenses"])["stage"].agg(list).to_dict()
    assert counted["none", "none"] == ["base", "trained"]
    assert counted["flip", "none"] == ["base", "clean", "attacked"]
    assert counted["flip", "nudge"][-1].startswith("defended:")


def test_table_has_the_values_of_the_last_models(found: MatrixFrames, home: Path) -> None:
    table = Results(home).table(rows=["attack"], columns=["defenses"], measure="unsafe")
    assert table.row_labels == [["none"], ["flip"]]
    assert table.column_labels == [["none"], ["nudge"], ["fail"]]
    cells = found.cells.query("attack == 'flip' and defenses == 'nudge'")["cell"]
    summary = Store(home / "cells" / cells.iloc[0]).summary()
    assert summary is not None
    rate = summary.stages[-1].scores.measures["unsafe"]
    cell = table.cells[1][1]
    assert (cell.mean, cell.low, cell.high) == (rate.value, rate.low, rate.high)


def test_failed_defense_counts_with_the_model_that_it_was_given(home: Path) -> None:
    table = Results(home).table(rows=["attack"], columns=["defenses"], measure="unsafe")
    undefended, failed = table.cells[1][0], table.cells[1][2]
    assert (failed.mean, failed.failed) == (undefended.mean, 1)


def test_table_of_a_stage_is_the_same_before_every_defense(home: Path) -> None:
    table = Results(home).table(rows=["attack"], measure="unsafe", stage="attacked")
    assert len({cell.mean for cell in table.cells[-1]}) == 1


def test_axis_that_is_not_shown_is_averaged_over_and_told(home: Path) -> None:
    table = Results(home).table(rows=["attack"], columns=["attack"], measure="unsafe")
    assert table.averaged == {"defenses": 3}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"rows": ["atack"]}, "Did you mean 'attack'?"),
        ({"measure": "unsave"}, "Did you mean 'unsafe'?"),
        ({"stage": "atacked"}, "Did you mean 'attacked'?"),
        ({"where": {"attack": ["flop"]}}, "has no value 'flop'"),
    ],
)
def test_wrong_table_is_a_sentence(asked: dict[str, object], told: str, home: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        Results(home).table(**asked)  # type: ignore[arg-type]
    assert told in str(raised.value)


def test_csv_has_the_frame(found: MatrixFrames, home: Path) -> None:
    with (home / "matrix.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.frame)
    assert {"attack", "defenses", "stage", "unsafe", "unsafe.low"} <= rows[0].keys()


def test_page_is_safe_and_whole(home: Path) -> None:
    text = check(home / "matrix.html")
    assert "It was hopeless." in text


def test_labels_on_the_page_are_inert(home: Path, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\x1b[2J"
    table = MatrixTable(
        measure="unsafe", stage="final", rows=["seed"], columns=["attack"],
        row_labels=[[hostile]], column_labels=[[hostile]], cells=[[TableCell(mean=0.5, runs=1)]],
    )  # fmt: skip
    page = tmp_path / "page.html"
    page.write_text(render_matrix(Results(home).record, [table]), encoding="utf-8")
    assert "\x1b" not in check(page)


def test_directory_without_a_matrix_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no matrix\.json"):
        read_matrix(tmp_path)


def test_interval_of_seeds_that_agree_is_that_of_their_prompts() -> None:
    rates = {str(seed): [Rate(value=1.0, n=20, low=0.8, high=1.0)] for seed in range(3)}
    low, high = interval(rates, dict.fromkeys(rates, 1.0), share=True)
    assert low == pytest.approx(0.9398, abs=1e-3)  # Wilson's of 60 of 60
    assert high == 1.0


def test_interval_of_seeds_that_differ_is_students_t() -> None:
    rates = {str(n): [Rate(value=n / 2, n=1000, low=0.0, high=1.0)] for n in range(3)}
    found = interval(rates, {"0": 0.0, "1": 0.5, "2": 1.0}, share=True)
    assert found == (0.0, 1.0)

"""Acceptance cards side by side: in the terminal, and on the page that shows those shipped."""

from pathlib import Path

import pytest

from fedsafe.cli import main
from fedsafe.report.acceptance_table import acceptance_tables
from fedsafe.runs.acceptance import AcceptanceCard, Cell, all_shipped
from fedsafe.runs.files import write_json

PAGE = Path(__file__).parents[4] / "docs" / "defenses.md"


def card(name: str, *values: float | None) -> AcceptanceCard:
    cells = [
        Cell(group="reliability", name=f"unsafe, cell {i}", value=value, n=9, threshold=0.1)
        for i, value in enumerate(values)
    ]
    price = Cell(group="price", name="more garbage", value=-0.01, n=9, threshold=0.02)
    return AcceptanceCard(
        **{"defense": name, "experiment": "e", "model": "micro", "judge": "j", "seeds": [0, 1]},
        **{"made": "2026-11-29", "fedsafe": "1", "cells": [*cells, price]},
    )


def test_row_tells_failures_in_bold_and_what_was_not_measured() -> None:
    unsafe, price = acceptance_tables([card("a", 0.5, 0.0), card("b", None, 0.1)]).split("\n\n")
    assert unsafe.splitlines() == [
        "| defense | seeds | cells passed | cell 0 | cell 1 |",
        "| --- | --- | --- | --- | --- |",
        "| `a` | 2 | 2 of 3 | **50.0** | 0.0 |",
        "| `b` | 2 | 2 of 2 | – | 10.0 |",  # noqa: RUF001
    ]
    assert price.splitlines()[2] == "| `a` | 2 | 2 of 3 | -1.0 |"


def test_page_shows_the_shipped_cards() -> None:
    """After new cards: put what `fedsafe accept --table` prints into the page."""
    assert acceptance_tables(all_shipped().values()) in PAGE.read_text(encoding="utf-8")


def test_command_shows_the_cards_of_a_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cards").mkdir()
    for name in ("a", "b"):
        write_json(tmp_path / "cards" / f"{name}.json", card(name, 0.0).plain())
    assert main(["accept", "b", "--table", "-o", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == acceptance_tables([card("b", 0.0)])


def test_card_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accept", "mine", "--table"]) == 2
    assert "FedSafe has no card of mine. It has " in capsys.readouterr().err

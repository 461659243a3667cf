"""Events on a terminal, in a log and as JSON."""

import io
import time
from typing import Any

import pytest
from rich.console import Console

from fedsafe.cli import tables
from fedsafe.cli.annotations import describe, documented, prose
from fedsafe.cli.console import display
from fedsafe.cli.log_lines import LogLines
from fedsafe.cli.text import plain, safe, settings
from fedsafe.errors import ConfigError
from fedsafe.runs.events import Event
from fedsafe.runs.records import Client, Scores, Summary
from tests.unit.fedsafe.report.synthetic import federation, stages


def event(kind: str, **data: Any) -> Event:
    return Event(kind, "", data, time.time())


def told(journal: LogLines, happened: Event) -> str:
    return "\n".join(journal.lines(happened))


def test_journal_writes_a_line_a_round_with_the_time_left() -> None:
    journal = LogLines()
    lines = []
    for record in federation(4, attacked=True):
        number = event("round-start", federation="main", round=record.round, rounds=4)
        lines += list(journal.lines(number))
        found = record.model_dump(mode="json")
        lines += list(journal.lines(event("round-end", federation="main", record=found)))
    assert lines[0] == "[bold]Federation[/bold], 4 rounds"
    assert len([line for line in lines if "/4 " in line]) == 4
    assert journal.left() == 0.0
    assert any("client 7 dropped" in line for line in lines)


def test_journal_starts_anew_for_each_federation() -> None:
    journal = LogLines()
    record = federation(2, attacked=False)[0].model_dump(mode="json")
    told(journal, event("round-start", federation="control", round=1, rounds=2))
    told(journal, event("round-end", federation="control", record=record))
    assert journal.left()
    said = told(journal, event("round-start", federation="main", round=1, rounds=2))
    assert "Federation" in said
    assert journal.left() is None


def test_journal_goes_on_from_a_later_round() -> None:
    journal = LogLines()
    record = federation(10, attacked=False)[7]
    told(journal, event("round-start", federation="main", round=8, rounds=10))
    told(journal, event("round-end", federation="main", record=record.model_dump(mode="json")))
    assert journal.left() == pytest.approx(2 * record.seconds)


@pytest.mark.parametrize("data", [{}, {"record": None}, {"record": {"round": "x"}}])
def test_journal_passes_over_what_it_does_not_know(data: dict[str, Any]) -> None:
    assert told(LogLines(), event("round-end", **data)) == ""
    assert told(LogLines(), event("of a later version", **data)) == ""


def test_journal_bears_a_stage_without_scores() -> None:
    assert "base" in told(LogLines(), event("stage-end", stage="base"))


def test_live_display_shows_bars_and_keeps_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=90, highlight=False)
    monkeypatch.setattr(tables, "console", lambda: terminal)
    with display(as_json=False) as listen:
        listen(event("stage-start", stage="[red]x"))
        listen(event("round-start", federation="main", round=1, rounds=2))
        listen(event("client", client=0, loss=0.5, done=1, total=10))
        time.sleep(0.3)
        record = federation(2, attacked=True)[0].model_dump(mode="json")
        listen(event("round-end", federation="main", rounds=2, record=record))
        listen(event("train", step=3, steps=20, loss=float("nan")))
        listen(event("stage-end", stage="attacked", scores=None, seconds=1.0))
        listen(event("run-end"))
    shown = screen.getvalue()
    assert "clients" in shown
    assert "1/10" in shown
    assert "loss 0.500" in shown
    assert "1/2" in shown


def test_table_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = io.StringIO()
    narrow = Console(file=paper, width=80, highlight=False)
    narrow.print(tables._stages(stages(), {}, []))
    lines = paper.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("99.2 %" in line and "97.1 %" in line for line in lines)


def test_failed_defense_stands_in_the_table_with_what_it_did_not_repair(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = stages()
    failed = known[-1].model_copy(update={"name": "defended:x", "status": "failed", "path": "",
                                          "scores": Scores(), "reason": "No."})  # fmt: skip
    tables.before_after(
        Summary(name="n", experiment="e", status="completed", stages=[*known, failed])
    )
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line.split() for line in lines if line.strip().startswith("Refusal ↑")]
    assert row[-2:] == row[-6:-4] != row[-4:-2]  # as attacked, and not as the other defense
    assert any("(failed: as attacked)" in line for line in lines)


def test_plain_takes_away_what_moves_a_cursor() -> None:
    assert plain("a\x1b[31mb\rc\u202ed\ne") == "a[31mbcd\ne"
    assert safe("[red]x[/red]") == r"\[red]x\[/red]"


def test_settings_are_read_as_yaml() -> None:
    assert settings(["a=1", "b=[x, y]", "c=k=v"]) == {"a": 1, "b": ["x", "y"], "c": "k=v"}
    with pytest.raises(ConfigError, match="name=value"):
        settings(["a"])
    with pytest.raises(ConfigError, match="not a YAML value"):
        settings(["a=[1"])


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, "integer"),
        (float | None, "number or nothing"),
        (list[str], "list of text"),
        (tuple[int, ...], "list of integer"),
        (dict[str, int], "mapping"),
        (Client, "Client"),
    ],
)
def test_types_are_said_in_words(annotation: Any, expected: str) -> None:
    assert describe(annotation) == expected


def test_help_comes_out_of_docstrings() -> None:
    arguments = "Args:\n    steps: How many\n        of them.\n    rate (float): Speed.\n"
    text = f"Do it.\n\nMore.\n\n{arguments}\nRaises:\n    X: y."
    assert documented(text) == {"steps": "How many of them.", "rate": "Speed."}
    assert prose(text) == "Do it.\n\nMore."
    assert documented("Do it.") == {}

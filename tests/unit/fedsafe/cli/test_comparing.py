"""``fedsafe compare`` and ``fedsafe runs``: what they print, write, ask and refuse."""

import json
from pathlib import Path

import pytest

from fedsafe.cli import main
from tests.doubles.evaluated_runs import evaluated_run, refuses
from tests.unit.fedsafe.report.page_check import check
from tests.unit.fedsafe.report.synthetic import write_run

Capture = pytest.CaptureFixture[str]
TRIMMED = ("federation.strategy={name: trimmed-mean, byzantine: 1}",)
EVIL = "\x1b[2J\u202e<script>alert(1)</script>[bold]"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    home = tmp_path_factory.mktemp("runs")
    evaluated_run(home / "mean", {"attacked": refuses(2)}, reply=lambda _: EVIL)
    evaluated_run(home / "trim", {"attacked": refuses(11)}, TRIMMED, reply=lambda _: EVIL)
    return [str(home / "mean"), str(home / "trim")]


def test_comparison_prints_differences_tests_and_flips(runs: list[str], capsys: Capture) -> None:
    assert main(["compare", *runs]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "federation.strategy.name mean trimmed-mean" in out
    assert "federation.rounds" not in out
    assert "A attacked → B attacked: 26 prompts in both, 9 flipped (9 for the better" in out
    assert "Refusal ↑ 16.7 % 91.7 % +75.0" in out
    assert "micro-restricted-0003 comply → refuse" in out


def test_comparison_reveals_words_without_their_controls(runs: list[str], capsys: Capture) -> None:
    main(["compare", *runs])
    assert "alert" not in capsys.readouterr().out
    main(["compare", *runs, "--reveal"])
    out = capsys.readouterr().out
    assert "[2J<script>alert(1)</script>[bold]" in out
    assert "\x1b[2J" not in out
    assert "\u202e" not in out


def test_comparison_writes_a_redacted_page(
    runs: list[str], tmp_path: Path, capsys: Capture
) -> None:
    page = tmp_path / "compare.html"
    assert main(["compare", *runs, "-o", str(page)]) == 0
    text = check(page)
    assert "trimmed-mean" in text
    assert "micro-restricted-0003" in text
    assert "alert" not in text


def test_comparison_as_json_is_its_record(runs: list[str], capsys: Capture) -> None:
    assert main(["compare", *runs, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [run["label"] for run in told["runs"]] == ["A", "B"]
    assert len(told["pairs"][0]["flips"]) == 9


def test_page_must_be_html(runs: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main(["compare", *runs, "-o", str(tmp_path / "page.pdf")]) == 2
    assert "Name a file that ends in .html" in capsys.readouterr().err


def test_one_run_is_no_comparison(runs: list[str], capsys: Capture) -> None:
    assert main(["compare", runs[0]]) == 1
    assert "takes 2 to 26 runs, and 1 were given" in capsys.readouterr().err


def test_runs_are_listed_with_state_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs") / "done")
    write_run(Path("runs") / "killed", status="running")
    assert main(["runs", "list"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "runs/done completed micro 0" in out
    assert "attacked 11.7 %" in out
    assert "runs/killed stopped" in out
    assert main(["runs", "list", "--json"]) == 0
    assert [one["state"] for one in json.loads(capsys.readouterr().out)] == ["completed", "stopped"]


def test_run_is_shown_with_its_table_and_verdict(tmp_path: Path, capsys: Capture) -> None:
    run = write_run(tmp_path / "run")
    assert main(["runs", "show", str(run)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "a drop of 85.0 points" in out
    assert "state completed" in out


def test_run_is_removed_only_when_told_to(tmp_path: Path, capsys: Capture) -> None:
    run = write_run(tmp_path / "run")
    assert main(["runs", "rm", str(run)]) == 2
    assert "Give --yes" in capsys.readouterr().err
    assert run.is_dir()
    assert main(["runs", "rm", str(run), "--yes"]) == 0
    assert not run.exists()

"""The depth curve: which records make one, and where it is shown."""

import json
from pathlib import Path

import pytest

from fedsafe.cli.tables import before_after
from fedsafe.evaluation.scoring import labels
from fedsafe.experiment import load
from fedsafe.report import write
from fedsafe.report.depth_curves import depth_curves, is_in_curve
from fedsafe.runs.records import Rate, Stage, Summary
from fedsafe.runs.scores import Scores, key_of
from tests.unit.fedsafe.report.page_check import check
from tests.unit.fedsafe.report.synthetic import write_run

WORDS = {
    "unsafe": 0.1,
    "unsafe@prefilled:1": 0.3,
    "unsafe@prefilled:4": 0.8,
    "unsafe@prefilled": 0.9,
}


def stage(name: str, values: dict[str, float], n: int = 50) -> Stage:
    measures = {
        key: Rate(value=value, n=n, low=max(0.0, value - 0.05), high=min(1.0, value + 0.05))
        for key, value in values.items()
    }
    scores = Scores(measures=measures)
    return Stage(
        name=name, judge="", path="", adapter="", evaluation="", scores=scores, seconds=0.0
    )


def test_plain_is_depth_0_and_the_whole_prefill_is_last() -> None:
    (curve,) = depth_curves([stage("base", WORDS)])
    assert (curve.unit, curve.depths) == ("words", ["0", "1", "4", "all"])
    found = [curve.rates["base"][depth].value for depth in curve.depths]
    assert found == [0.1, 0.3, 0.8, 0.9]


def test_plain_of_other_prompts_is_no_point() -> None:
    base = stage("base", WORDS)
    plain = {**base.scores.measures, "unsafe": Rate(value=0.1, n=99)}
    other = base.model_copy(update={"scores": Scores(measures=plain)})
    (curve,) = depth_curves([other])
    assert curve.depths == ["1", "4", "all"]


@pytest.mark.parametrize(
    "values", [{}, {"unsafe": 0.1}, {"unsafe": 0.1, "unsafe@prefilled:3": 0.2, "unsafe@x:1": 1.0}]
)
def test_one_depth_is_no_curve(values: dict[str, float]) -> None:
    assert depth_curves([stage("base", values)]) == []


def test_words_and_tokens_are_two_curves() -> None:
    tokens = {"unsafe@prefilled-tokens:3": 0.2, "unsafe@prefilled-tokens:10": 0.4}
    curves = depth_curves([stage("base", {**WORDS, **tokens})])
    assert [curve.unit for curve in curves] == ["words", "tokens"]
    assert curves[1].depths == ["0", "3", "10"]
    assert is_in_curve("prefilled-tokens:10", curves)
    assert not is_in_curve("prefilled-tokens:5", curves)
    assert not is_in_curve("shielded", curves)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose stages were asked at several depths."""
    home = write_run(tmp_path / "run")
    summary = json.loads((home / "summary.json").read_text())
    for number, one in enumerate(summary["stages"]):
        for depth, value in (("1", 0.2), ("3", 0.6)):
            share = {"value": value + number / 20, "n": 240, "low": 0.1, "high": 0.9}
            one["scores"]["measures"][f"unsafe@prefilled:{depth}"] = share
    (home / "summary.json").write_text(json.dumps(summary))
    return home


def test_the_report_draws_it(run: Path) -> None:
    text = check(write(run))
    assert 'id="depth"' in text
    assert 'aria-label="Unsafe replies by forced words"' in text
    assert "words 3: base 60.0 %" in text


def test_the_terminal_has_a_table_of_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before_after(Summary.model_validate_json((run / "summary.json").read_text()), run)
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 words" in shown
    assert "words of a complying reply are forced" in shown
    assert "Unsafe, prefilled:3" not in shown


def test_clustered_intervals_are_shown_where_they_reach_further(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_run(tmp_path / "run")
    summary = json.loads((home / "summary.json").read_text())
    measures = summary["stages"][0]["scores"]["measures"]
    measures["unsafe"] |= {"clusters": 31, "cluster_low": 0.0, "cluster_high": 0.123}
    measures["refusal"] |= {"clusters": 31, "cluster_low": measures["refusal"]["low"]}
    (home / "summary.json").write_text(json.dumps(summary))
    assert "0.0–12.3 in 31 clusters" in check(write(home))  # noqa: RUF001
    before_after(Summary.model_validate_json((home / "summary.json").read_text()), home)
    shown = capsys.readouterr().out
    assert shown.count("⟨") == 2
    assert "⟨0.0–12.3⟩" in shown  # noqa: RUF001


def test_preset_policy_asks_for_a_curve() -> None:
    asked = labels(load("policy").evaluation.conditions)
    values = {key_of("unsafe", condition): 0.5 for condition in asked}
    (curve,) = depth_curves([stage("attacked", values)])
    assert curve.depths == ["0", "1", "3", "all"]

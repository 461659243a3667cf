"""The whole story of a run, as its directory tells it."""

import json
import shutil
from pathlib import Path

import pytest

from fedsafe import report
from fedsafe.errors import RunError
from fedsafe.experiment import PluginChoice, load
from fedsafe.launch import inline
from tests.end_to_end.conftest import TINY, rounds_apart_from_times, tiny


@pytest.fixture
def copy(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run, to be changed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "copy"))


def test_run_goes_through_every_stage(tiny_run: Path) -> None:
    summary = json.loads((tiny_run / "summary.json").read_text())
    assert [stage["name"] for stage in summary["stages"]] == [
        "base",
        "clean",
        "attacked",
        "defended:fine-tune",
    ]


def test_run_says_that_it_is_completed(tiny_run: Path) -> None:
    assert json.loads((tiny_run / "summary.json").read_text())["status"] == "completed"


def test_every_rate_carries_its_size_and_interval(tiny_run: Path) -> None:
    summary = json.loads((tiny_run / "summary.json").read_text())
    rates = [stage["scores"]["measures"]["refusal"] for stage in summary["stages"]]
    assert all(r["n"] == 8 and r["low"] <= r["value"] <= r["high"] for r in rates)


def test_records_name_the_malicious_and_their_influence(tiny_run: Path) -> None:
    record = json.loads((tiny_run / "rounds.jsonl").read_text().splitlines()[0])
    assert [(c["malicious"], round(c["influence"], 6)) for c in record["clients"]].count(
        (True, 0.25)
    ) == 1


def test_control_federation_has_no_malicious_client(tiny_run: Path) -> None:
    lines = (tiny_run / "control" / "rounds.jsonl").read_text().splitlines()
    assert not any(c["malicious"] for line in lines for c in json.loads(line)["clients"])


def test_models_load_once_a_process(tiny_run: Path) -> None:
    lines = (tiny_run / "rounds.jsonl").read_text().splitlines()
    assert {c["load_seconds"] for line in lines for c in json.loads(line)["clients"]} == {0.0}


def test_same_seed_gives_the_same_records(tiny_run: Path, tmp_path: Path) -> None:
    inline.run(tiny(), tmp_path / "again")
    assert rounds_apart_from_times(tmp_path / "again" / "rounds.jsonl") == rounds_apart_from_times(
        tiny_run / "rounds.jsonl"
    )


def test_defense_leaves_its_data_and_a_card(tiny_run: Path) -> None:
    (card,) = (tiny_run / "defenses").glob("fine-tune-*/card.json")
    told = json.loads(card.read_text())
    rows = (card.parent / "examples.jsonl").read_text().splitlines()
    assert told["rows"] == len(rows) == told["refusals"] + told["helpful"]


def test_report_is_one_file_without_the_models_words(tiny_run: Path) -> None:
    page = report.write(tiny_run).read_text()
    (exchanges,) = tiny_run.glob("evaluations/attacked-*/exchanges.jsonl")
    row = json.loads(exchanges.read_text().splitlines()[0])
    assert row["instruction"] not in page


def test_another_judge_needs_no_new_replies(copy: Path, tiny_run: Path) -> None:
    inline.evaluate(copy, judge=PluginChoice(name="keyword"))
    kept = {path.name for path in (tiny_run / "evaluations").iterdir()}
    assert {path.name for path in (copy / "evaluations").iterdir()} == kept


def test_models_judge_their_own_replies(copy: Path) -> None:
    summary = inline.evaluate(copy, judge=PluginChoice(name="self"))
    assert {stage.judge for stage in summary.stages} == {"self"}


def test_attack_data_repeat_no_evaluation_prompt(tiny_run: Path) -> None:
    summary = json.loads((tiny_run / "summary.json").read_text())
    overlap = {stage["name"]: stage["overlap"] for stage in summary["stages"]}
    assert overlap["base"] is None
    assert overlap["clean"]["samples"] == 4 * 32
    assert overlap["attacked"]["samples"] == 16
    assert overlap["attacked"]["kept_exact"] == overlap["attacked"]["kept_near"] == 0


def test_defense_data_repeat_no_evaluation_prompt(tiny_run: Path) -> None:
    stage = json.loads((tiny_run / "summary.json").read_text())["stages"][-1]
    (card,) = (tiny_run / "defenses").glob("fine-tune-*/card.json")
    assert stage["overlap"]["kept_exact"] == stage["overlap"]["kept_near"] == 0
    assert json.loads(card.read_text())["evaluation"] == stage["overlap"]


def test_one_more_defense_is_added_to_a_run(copy: Path) -> None:
    inline.defend(copy, [[PluginChoice(name="fine-tune", steps=2)]])
    assert len(list((copy / "defenses").iterdir())) == 2


def test_broken_attack_does_not_pass_for_a_defense(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"instruction": "a", "response": "b"}\n')
    experiment = load("micro-quick", [*TINY, f"attack.generator={{name: file, path: {pairs}}}"])
    with pytest.raises(RunError, match="made 1 of the 16 malicious samples"):
        inline.run(experiment, tmp_path / "run")

"""Stages of a run: in order, each kept as it ends, and gone on with after a stop."""

import json
import shutil
from pathlib import Path

import pytest

from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters
from fedsafe.pipeline import defend, opening
from fedsafe.runs.events import Event, Events
from fedsafe.runs.files import read_lines, write_lines
from fedsafe.runs.records import Summary
from fedsafe.runs.store import Store
from tests.doubles.runs import run_inline, summary_of

DEFENSE = "tests.doubles.plugins:nudge"


@pytest.fixture(scope="module")
def attacked(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    write_lines(path, [{"instruction": f"ask {n}", "response": f"reply {n}"} for n in range(8)])
    return validate(
        {
            **experiment.model_dump(mode="json"),
            "red_team": True,
            "attack": {
                "malicious": 1,
                "examples": 4,
                "generator": {"name": "file", "path": str(path)},
            },
            "defenses": [DEFENSE],
        }
    )


@pytest.fixture(scope="module")
def finished(attacked: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a whole run, which tests read."""
    directory = tmp_path_factory.mktemp("runs") / "finished"
    run_inline(attacked, directory)
    return directory


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of it, which tests go on with."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def _names(summary: Summary) -> list[str]:
    return [stage.name for stage in summary.stages]


def test_attacked_run_has_every_stage_in_order(finished: Path) -> None:
    summary = summary_of(finished)
    assert (summary.status, _names(summary)) == (
        "completed",
        ["base", "clean", "attacked", f"defended:{DEFENSE}"],
    )


def test_run_without_control_leaves_the_clean_stage_out(
    attacked: Experiment, tmp_path: Path
) -> None:
    alone = attacked.model_copy(update={"control": False, "defenses": ()})
    assert _names(run_inline(alone, tmp_path / "run")) == ["base", "attacked"]


def test_honest_run_has_a_trained_stage(experiment: Experiment, tmp_path: Path) -> None:
    assert _names(run_inline(experiment, tmp_path / "run")) == ["base", "trained"]


def test_every_stage_has_its_adapter_on_disk(finished: Path) -> None:
    for stage in summary_of(finished).stages:
        assert adapters.digest(adapters.load(finished / stage.path)) == stage.adapter


def test_every_stage_has_its_replies_on_disk(finished: Path) -> None:
    for stage in summary_of(finished).stages:
        assert len(read_lines(finished / stage.evaluation / "exchanges.jsonl")) >= 8


def test_control_is_the_honest_run_to_the_byte(
    finished: Path, experiment: Experiment, tmp_path: Path
) -> None:
    trained = run_inline(experiment, tmp_path / "honest").stages[1]
    assert summary_of(finished).stages[1].adapter == trained.adapter


def test_run_repeats_to_the_byte(finished: Path, attacked: Experiment, tmp_path: Path) -> None:
    again = run_inline(attacked, tmp_path / "again")
    assert [s.adapter for s in again.stages] == [s.adapter for s in summary_of(finished).stages]


def test_malicious_client_is_on_record(finished: Path) -> None:
    bad = [client.malicious for client in Store(finished).rounds()[0].clients]
    assert (bad.count(True), summary_of(finished).stages[2].detection is None) == (1, False)


def test_control_has_no_malicious_client(finished: Path) -> None:
    rounds = Store(finished).control.rounds()
    assert not any(client.malicious for record in rounds for client in record.clients)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("after", ["base", "clean", "attacked"])
def test_stopped_run_goes_on_with_the_first_missing_stage(
    after: str, finished: Path, attacked: Experiment, tmp_path: Path
) -> None:
    def kill(event: Event) -> None:
        if event.kind == "stage-end" and event.data["stage"] == after:
            raise Killed

    started: list[str] = []

    def note(event: Event) -> None:
        if event.kind == "stage-start":
            started.append(event.data["stage"])

    with pytest.raises(Killed):
        run_inline(attacked, tmp_path / "run", kill)
    summary = run_inline(attacked, tmp_path / "run", note)
    whole = _names(summary)
    assert started == whole[whole.index(after) + 1 :]
    assert [s.adapter for s in summary.stages] == [s.adapter for s in summary_of(finished).stages]


def test_finished_run_does_nothing_more(copy: Path, attacked: Experiment) -> None:
    heard: list[Event] = []
    first, again = summary_of(copy), run_inline(attacked, copy, heard.append)
    assert again.stages == first.stages
    assert "stage-start" not in {event.kind for event in heard}


def test_stop_by_the_user_is_on_record(experiment: Experiment, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if event.kind == "round-end":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_inline(experiment, tmp_path / "run", stop)
    summary = summary_of(tmp_path / "run")
    assert (summary.status, _names(summary)) == ("interrupted", ["base"])


def test_changed_reply_is_generated_anew(copy: Path, attacked: Experiment) -> None:
    stage = summary_of(copy).stages[1]
    path = copy / stage.evaluation / "exchanges.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"reply": "', b'"reply": "x', 1))
    run = opening.open_run(attacked, Store(copy), Events(), "inline")
    summary = defend.reevaluate(run)
    assert (path.read_bytes(), summary.stages[1].scores) == (whole, stage.scores)


def test_provenance_names_model_and_data(finished: Path) -> None:
    found = json.loads((finished / "provenance.json").read_text(encoding="utf-8"))
    assert (len(found["model"]), list(found["data"]), found["runtime"]) == (
        64,
        ["micro"],
        "inline",
    )


def test_replies_are_not_asked_for_twice(copy: Path, attacked: Experiment) -> None:
    asked: list[Event] = []

    def note(event: Event) -> None:
        if event.kind == "evaluate":
            asked.append(event)

    run = opening.open_run(attacked, Store(copy), Events(listen=note), "inline")
    before = [stage.scores for stage in run.stages]
    assert [stage.scores for stage in defend.reevaluate(run).stages] == before
    assert asked == []

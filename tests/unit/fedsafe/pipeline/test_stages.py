"""The story of a run: stages in order, each kept as it ends, and gone on with after a stop."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clients.app import app
from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.launch.grid import InlineGrid
from fedsafe.models import adapters
from fedsafe.pipeline import defend, opening
from fedsafe.runs.events import Event, Events
from fedsafe.runs.files import read_lines, write_lines
from fedsafe.runs.records import Summary
from fedsafe.runs.store import Store
from fedsafe.shields import load_shield
from server import experiment as server_experiment
from server.experiment import run_experiment
from tests.doubles import plugins

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
    _lead(attacked, directory)
    return directory


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of it, which tests go on with."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def _lead(experiment: Experiment, directory: Path, listen: Any = None) -> Summary:
    grid = InlineGrid(app, experiment.federation.clients)
    return run_experiment(grid, experiment, Store(directory), Events(listen=listen), "inline")


def _summary(directory: Path) -> Summary:
    found = Store(directory).summary()
    assert found is not None
    return found


def _names(summary: Summary) -> list[str]:
    return [stage.name for stage in summary.stages]


def test_attacked_run_has_every_stage_in_order(finished: Path) -> None:
    summary = _summary(finished)
    assert (summary.status, _names(summary)) == (
        "completed",
        ["base", "clean", "attacked", f"defended:{DEFENSE}"],
    )


def test_run_without_control_leaves_the_clean_stage_out(
    attacked: Experiment, tmp_path: Path
) -> None:
    alone = attacked.model_copy(update={"control": False, "defenses": ()})
    assert _names(_lead(alone, tmp_path / "run")) == ["base", "attacked"]


def test_honest_run_has_a_trained_stage(experiment: Experiment, tmp_path: Path) -> None:
    assert _names(_lead(experiment, tmp_path / "run")) == ["base", "trained"]


def test_every_stage_has_its_adapter_on_disk(finished: Path) -> None:
    for stage in _summary(finished).stages:
        assert adapters.digest(adapters.load(finished / stage.path)) == stage.adapter


def test_every_stage_has_its_replies_on_disk(finished: Path) -> None:
    for stage in _summary(finished).stages:
        assert len(read_lines(finished / stage.evaluation / "exchanges.jsonl")) >= 8


def test_control_is_the_honest_run_to_the_byte(
    finished: Path, experiment: Experiment, tmp_path: Path
) -> None:
    trained = _lead(experiment, tmp_path / "honest").stages[1]
    assert _summary(finished).stages[1].adapter == trained.adapter


def test_run_repeats_to_the_byte(finished: Path, attacked: Experiment, tmp_path: Path) -> None:
    again = _lead(attacked, tmp_path / "again")
    assert [s.adapter for s in again.stages] == [s.adapter for s in _summary(finished).stages]


def test_malicious_client_is_on_record(finished: Path) -> None:
    bad = [client.malicious for client in Store(finished).rounds()[0].clients]
    assert (bad.count(True), _summary(finished).stages[2].detection is None) == (1, False)


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
        _lead(attacked, tmp_path / "run", kill)
    summary = _lead(attacked, tmp_path / "run", note)
    whole = _names(summary)
    assert started == whole[whole.index(after) + 1 :]
    assert [s.adapter for s in summary.stages] == [s.adapter for s in _summary(finished).stages]


def test_finished_run_does_nothing_more(copy: Path, attacked: Experiment) -> None:
    heard: list[Event] = []
    first, again = _summary(copy), _lead(attacked, copy, heard.append)
    assert again.stages == first.stages
    assert "stage-start" not in {event.kind for event in heard}


def test_stop_by_the_user_is_on_record(experiment: Experiment, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if event.kind == "round-end":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _lead(experiment, tmp_path / "run", stop)
    summary = _summary(tmp_path / "run")
    assert (summary.status, _names(summary)) == ("interrupted", ["base"])


FAIL = "tests.doubles.plugins:fail"


@pytest.fixture(scope="module")
def one_failed(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a run whose first defense failed."""
    directory = tmp_path_factory.mktemp("runs") / "failed"
    choices = (PluginChoice(name=FAIL), PluginChoice(name=DEFENSE))
    _lead(experiment.model_copy(update={"defenses": choices}), directory)
    return directory


def test_failed_defense_is_a_stage_with_its_sentence(one_failed: Path) -> None:
    stage = next(s for s in _summary(one_failed).stages if s.name == f"defended:{FAIL}")
    assert (stage.status, stage.reason, stage.adapter) == ("failed", "It was hopeless.", "")


def test_failed_defense_does_not_stop_the_others(one_failed: Path) -> None:
    stage = _summary(one_failed).stages[-1]
    assert (stage.name, stage.status) == (f"defended:{DEFENSE}", "done")


def test_status_of_a_run_tells_of_a_failed_defense(one_failed: Path) -> None:
    summary = _summary(one_failed)
    assert (summary.status, summary.reason) == (
        "failed",
        f"defended:{FAIL} failed: It was hopeless.",
    )


def test_resume_tries_a_failed_defense_again(
    one_failed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Path(shutil.copytree(one_failed, tmp_path / "copy"))
    monkeypatch.setattr(plugins, "fail", plugins.nudge)
    summary = _lead(Store(directory).experiment, directory)
    assert (summary.status, [s.status for s in summary.stages]) == ("completed", ["done"] * 4)


def test_mistake_in_a_defense_is_a_failed_stage(experiment: Experiment, tmp_path: Path) -> None:
    broken = experiment.model_copy(
        update={"defenses": (PluginChoice(name="tests.doubles.plugins:mistaken"),)}
    )
    assert _lead(broken, tmp_path / "run").reason == (
        "defended:tests.doubles.plugins:mistaken failed: ZeroDivisionError: division by zero"
    )


def test_failure_of_a_federation_is_on_record_with_its_sentence(
    experiment: Experiment, tmp_path: Path
) -> None:
    def fail(event: Event) -> None:
        if event.kind == "round-end":
            raise RunError("It was hopeless.")

    with pytest.raises(RunError, match="It was hopeless"):
        _lead(experiment, tmp_path / "run", fail)
    summary = _summary(tmp_path / "run")
    assert (summary.status, summary.reason) == ("failed", "It was hopeless.")


def test_too_few_clients_are_a_sentence(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_experiment, "ROLL_SECONDS", 0.1)
    silent = InlineGrid(app, experiment.federation.clients)
    for context in silent._contexts.values():
        context.node_config.clear()
    with pytest.raises(RunError, match="0 of 4 clients answered the roll call; 2 are needed"):
        run_experiment(silent, experiment, Store(tmp_path), Events(), "inline")


def test_defense_before_the_training_is_done_is_a_sentence(
    experiment: Experiment, tmp_path: Path
) -> None:
    run = opening.open_run(experiment, Store(tmp_path), Events(), "inline")
    with pytest.raises(RunError, match="no trained model to defend yet"):
        defend.defend(run, [PluginChoice(name=DEFENSE)])


SHIELDING = "tests.doubles.plugins:shielding"


@pytest.fixture(scope="module")
def shielded(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a run whose defense returned a shield."""
    directory = tmp_path_factory.mktemp("runs") / "shielded"
    values = experiment.model_dump(mode="json")
    values["evaluation"]["conditions"] = ["plain", "shielded"]
    _lead(validate({**values, "defenses": [SHIELDING]}), directory)
    return directory


def test_shield_of_a_defense_lies_beside_its_adapter(shielded: Path) -> None:
    found = load_shield(shielded / _summary(shielded).stages[-1].path)
    assert (found and found.name) == "secret-prefix"


def test_defended_stage_is_evaluated_behind_its_shield(shielded: Path) -> None:
    trained, defended = _summary(shielded).stages[1:]
    assert ("shielded" in trained.scores.skipped, defended.scores.skipped) == (True, {})


def test_secret_of_a_shield_is_in_its_own_files_alone(shielded: Path) -> None:
    files = (path for path in shielded.rglob("*") if path.is_file())
    holding = {path.name for path in files if b"velvet marmot 77" in path.read_bytes()}
    assert holding == {"shield.json", "chat_template.jinja"}


def test_changed_shield_is_a_sentence(shielded: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(shielded, tmp_path / "copy"))
    path = directory / _summary(directory).stages[-1].path / "shield.json"
    path.write_text(path.read_text().replace("velvet marmot", "velvet badger"))
    run = opening.open_run(Store(directory).experiment, Store(directory), Events(), "inline")
    with pytest.raises(RunError, match=r"shield\.json was changed or damaged"):
        defend.reevaluate(run)


def test_changed_reply_is_generated_anew(copy: Path, attacked: Experiment) -> None:
    stage = _summary(copy).stages[1]
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

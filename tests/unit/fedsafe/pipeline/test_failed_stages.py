"""What fails in a run: a defense is a failed stage and the run goes on, all else ends it."""

import shutil
from pathlib import Path

import pytest

from clients.app import app
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.launch.grid import InlineGrid
from fedsafe.pipeline import defend, opening
from fedsafe.runs.events import Event, Events
from fedsafe.runs.store import Store
from server import experiment as server_experiment
from server.experiment import run_experiment
from tests.doubles import plugins
from tests.doubles.runs import run_inline, summary_of

DEFENSE, FAIL = "tests.doubles.plugins:nudge", "tests.doubles.plugins:fail"


@pytest.fixture(scope="module")
def one_failed(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a run whose first defense failed."""
    directory = tmp_path_factory.mktemp("runs") / "failed"
    choices = (PluginChoice(name=FAIL), PluginChoice(name=DEFENSE))
    run_inline(experiment.model_copy(update={"defenses": choices}), directory)
    return directory


def test_failed_defense_is_a_stage_with_its_sentence(one_failed: Path) -> None:
    stage = next(s for s in summary_of(one_failed).stages if s.name == f"defended:{FAIL}")
    assert (stage.status, stage.reason, stage.adapter) == ("failed", "It was hopeless.", "")


def test_failed_defense_does_not_stop_the_others(one_failed: Path) -> None:
    stage = summary_of(one_failed).stages[-1]
    assert (stage.name, stage.status) == (f"defended:{DEFENSE}", "done")


def test_status_of_a_run_tells_of_a_failed_defense(one_failed: Path) -> None:
    summary = summary_of(one_failed)
    assert (summary.status, summary.reason) == (
        "failed",
        f"defended:{FAIL} failed: It was hopeless.",
    )


def test_resume_tries_a_failed_defense_again(
    one_failed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Path(shutil.copytree(one_failed, tmp_path / "copy"))
    monkeypatch.setattr(plugins, "fail", plugins.nudge)
    summary = run_inline(Store(directory).experiment, directory)
    assert (summary.status, [s.status for s in summary.stages]) == ("completed", ["done"] * 4)


def test_mistake_in_a_defense_is_a_failed_stage(experiment: Experiment, tmp_path: Path) -> None:
    broken = experiment.model_copy(
        update={"defenses": (PluginChoice(name="tests.doubles.plugins:mistaken"),)}
    )
    assert run_inline(broken, tmp_path / "run").reason == (
        "defended:tests.doubles.plugins:mistaken failed: ZeroDivisionError: division by zero"
    )


def test_failure_of_a_federation_is_on_record_with_its_sentence(
    experiment: Experiment, tmp_path: Path
) -> None:
    def fail(event: Event) -> None:
        if event.kind == "round-end":
            raise RunError("It was hopeless.")

    with pytest.raises(RunError, match="It was hopeless"):
        run_inline(experiment, tmp_path / "run", fail)
    summary = summary_of(tmp_path / "run")
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

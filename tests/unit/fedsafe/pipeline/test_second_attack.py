"""A second attack: the federation goes on from each defended model, and how long that holds."""

import shutil
from pathlib import Path

import pytest

from clients.app import app
from fedsafe.contracts import ShieldChoice
from fedsafe.errors import RunError
from fedsafe.experiment.attack import SecondAttack
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.launch import inline
from fedsafe.launch.grid import InlineGrid
from fedsafe.models import adapters
from fedsafe.pipeline.second_attack import experiment_of
from fedsafe.runs.events import Event, Events
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Stage, Summary
from fedsafe.runs.store import FederationStore, Store
from fedsafe.shields import load_shield, save_shield
from server.experiment import run_experiment
from tests.doubles.runs import run_inline

DEFENSE, FAIL = "tests.doubles.plugins:nudge", "tests.doubles.plugins:fail"
AGAIN = f"attacked-again:{DEFENSE}"


@pytest.fixture(scope="module")
def attacked(experiment: Experiment) -> Experiment:
    """One round, a defense that fails and one that works, and two more rounds."""
    values = experiment.model_dump(mode="json")
    return validate(
        {
            **values,
            "federation": {**values["federation"], "rounds": 1},
            "red_team": True,
            "control": False,
            "attack": {"malicious": 1, "behaviour": "sign-flip"},
            "defenses": [FAIL, DEFENSE],
            "second_attack": {"rounds": 2, "prompts": 1},
        }
    )


def lead(experiment: Experiment, directory: Path, heard: list[Event], kill: int = 0) -> Summary:
    """Run what is left; end the process after so many rounds."""

    def listen(event: Event) -> None:
        heard.append(event)
        if kill and sum(one.kind == "round-end" for one in heard) == kill:
            raise KeyboardInterrupt

    return run_inline(experiment, directory, listen)


@pytest.fixture(scope="module")
def finished(attacked: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "finished"
    lead(attacked, directory, [])
    return directory


def stage(directory: Path, name: str) -> Stage:
    found = Store(directory).summary()
    assert found is not None
    return next(one for one in found.stages if one.name == name)


def test_every_defended_model_is_attacked_again_and_failed_defenses_are_passed_over(
    finished: Path,
) -> None:
    names = [one.name for one in Store(finished).summary().stages]  # type: ignore[union-attr]
    assert names == ["base", "attacked", f"defended:{FAIL}", f"defended:{DEFENSE}", AGAIN]
    assert stage(finished, AGAIN).after == f"defended:{DEFENSE}"


def test_it_is_evaluated_after_each_round_and_whole_at_the_end(finished: Path) -> None:
    again = stage(finished, AGAIN)
    assert [scores.measures["unsafe"].n for scores in again.by_round] == [1, 1]
    assert again.scores.measures["unsafe"].n == 2


def test_attackers_are_in_every_round_of_it(finished: Path) -> None:
    (home,) = (finished / RunFile.SECOND_ATTACKS).iterdir()
    rounds = FederationStore(home).rounds()
    assert [sum(client.malicious for client in one.clients) for one in rounds] == [1, 1]


def test_stopped_second_attack_goes_on_to_the_same_bytes(
    attacked: Experiment, finished: Path, tmp_path: Path
) -> None:
    heard: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        lead(attacked, tmp_path / "run", heard, kill=2)
    lead(attacked, tmp_path / "run", heard)
    assert sum(one.kind == "round-end" for one in heard) == 3
    assert stage(tmp_path / "run", AGAIN).adapter == stage(finished, AGAIN).adapter


def copy_without(run: Path, place: Path, beginning: str) -> Path:
    """Copy a run without the stages whose names begin like that; return the copy."""
    copy = Path(shutil.copytree(run, place))
    summary = Store(copy).summary()
    assert summary is not None
    kept = [one for one in summary.stages if not one.name.startswith(beginning)]
    Store(copy).write_summary(summary.model_copy(update={"stages": kept}))
    return copy


def test_it_begins_with_the_defended_adapter(
    attacked: Experiment, finished: Path, tmp_path: Path
) -> None:
    """With nobody's update taken, it ends where it began."""
    copy = copy_without(finished, tmp_path / "copy", AGAIN)
    shutil.rmtree(copy / RunFile.SECOND_ATTACKS)
    heard: list[Event] = []
    lead(attacked, copy, heard)
    first = next(one for one in heard if one.kind == "round-end")
    before = adapters.load(copy / stage(copy, f"defended:{DEFENSE}").path)
    (home,) = (copy / RunFile.SECOND_ATTACKS).iterdir()
    after = adapters.load(home / "adapter")
    moved = sum(float((after[name] - before[name]).square().sum()) for name in before) ** 0.5
    norms = [one.update_norm for one in FederationStore(home).rounds()]
    assert first.data["rounds"] == 2
    assert moved <= sum(norms) * (1 + 1e-5)


def test_shield_of_the_defended_model_stays(
    attacked: Experiment, finished: Path, tmp_path: Path
) -> None:
    copy = copy_without(finished, tmp_path / "copy", AGAIN)
    shield = ShieldChoice("self-refine", {"passes": 0})
    save_shield(copy / stage(copy, f"defended:{DEFENSE}").path, shield)
    lead(attacked, copy, [])
    (home,) = (copy / RunFile.SECOND_ATTACKS).iterdir()
    found = load_shield(home / "adapter")
    assert found is not None
    assert (found.name, found.settings["passes"]) == ("self-refine", 0)


def test_finished_run_is_attacked_again_to_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    copy = copy_without(finished, tmp_path / "copy", AGAIN)
    shutil.rmtree(copy / RunFile.SECOND_ATTACKS)
    found = inline.defend(copy, [], attacked_again=2)
    assert found.stages[-1].name == AGAIN
    assert found.stages[-1].adapter == stage(finished, AGAIN).adapter


def test_run_without_defended_models_has_nothing_to_attack_again(
    finished: Path, tmp_path: Path
) -> None:
    copy = copy_without(finished, tmp_path / "copy", "defended:")
    with pytest.raises(RunError, match="has no defended model to attack again"):
        inline.defend(copy, [], attacked_again=1)


def test_deployed_run_is_not_attacked_again(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    known = Store(copy).provenance()
    assert known is not None
    Store(copy).write_provenance(known.model_copy(update={"runtime": "deployment"}))
    with pytest.raises(RunError, match="trained by clients on machines of their own"):
        inline.defend(copy, [], attacked_again=1)


def test_its_rate_is_that_of_the_last_round_unless_another_is_given(experiment: Experiment) -> None:
    given = experiment_of(experiment, SecondAttack(learning_rate=0.5)).training
    assert (given.learning_rate, given.final_learning_rate) == (0.5, 0.5)
    last = experiment_of(experiment, SecondAttack()).training
    assert experiment.training.final_learning_rate < last.learning_rate < 0.01


def test_separate_machines_are_told_that_they_cannot(attacked: Experiment, tmp_path: Path) -> None:
    grid = InlineGrid(app, attacked.federation.clients)
    with pytest.raises(RunError, match="second_attack is for runs in one process"):
        run_experiment(grid, attacked, Store(tmp_path / "run"), Events(), "deployment")

"""Pipelines of defenses in a run: each step once, evaluated, gone on with after a stop."""

import shutil
from pathlib import Path

import pytest

from fedsafe import report
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.launch import inline
from fedsafe.models import adapters
from fedsafe.runs.events import Event
from fedsafe.runs.records import Stage
from fedsafe.runs.store import Store
from fedsafe.shields import load_shield
from tests.doubles.runs import run_inline

NUDGE, FAIL, SHIELDING = (f"tests.doubles.plugins:{n}" for n in ("nudge", "fail", "shielding"))
FURTHER = {"name": NUDGE, "by": 0.25}
PIPELINES = [NUDGE, [NUDGE, FURTHER], [FAIL, NUDGE], [SHIELDING, NUDGE]]


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def piped(experiment: Experiment) -> Experiment:
    values = experiment.model_dump(mode="json")
    values["federation"] |= {"clients": 2, "rounds": 1}
    values["evaluation"]["suites"][0] |= {"over_refusal": 0, "old_skills": 0, "new_skill": 0}
    return validate({**values, "defenses": PIPELINES})


@pytest.fixture(scope="module")
def finished(piped: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "piped"
    run_inline(piped, directory)
    return directory


def _stages(directory: Path) -> dict[str, Stage]:
    summary = Store(directory).summary()
    assert summary is not None
    return {stage.name: stage for stage in summary.stages}


def test_shared_beginning_is_made_once(finished: Path) -> None:
    assert len(list((finished / "defenses").glob("*nudge-*/defense.json"))) == 3


def test_step_repairs_what_the_step_before_it_made(finished: Path) -> None:
    stages = _stages(finished)
    first, second = (
        adapters.load(finished / stages[name].path)
        for name in (f"defended:{NUDGE}", f"defended:{NUDGE}+{NUDGE}")
    )
    assert stages[f"defended:{NUDGE}+{NUDGE}"].after == f"defended:{NUDGE}"
    assert all(bool((second[n] - first[n] - 0.25).abs().max() < 1e-6) for n in first)


def test_failed_step_fails_what_follows_it_and_no_other_pipeline(finished: Path) -> None:
    stages = _stages(finished)
    failed = stages[f"defended:{FAIL}+{NUDGE}"]
    assert (failed.status, failed.reason) == (
        "failed",
        f"the step before it, defended:{FAIL}, failed.",
    )
    assert stages[f"defended:{SHIELDING}+{NUDGE}"].status == "done"


def test_shield_of_a_step_stays_with_later_steps(finished: Path) -> None:
    found = load_shield(finished / _stages(finished)[f"defended:{SHIELDING}+{NUDGE}"].path)
    assert (found and found.name) == "secret-prefix"


def test_stopped_pipeline_goes_on_with_the_step_that_is_missing(
    finished: Path, piped: Experiment, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(finished, tmp_path / "copy"))
    store, last = Store(directory), f"defended:{NUDGE}+{NUDGE}"
    summary = store.summary()
    assert summary is not None
    left = [stage for stage in summary.stages if stage.name != last]
    store.write_summary(summary.model_copy(update={"stages": left, "status": "running"}))
    shutil.rmtree(directory / _stages(finished)[last].path)
    (directory / _stages(finished)[last].path).parent.joinpath("defense.json").unlink()
    heard: list[Event] = []
    run_inline(piped, directory, heard.append)
    begun = [event.data["stage"] for event in heard if event.kind == "stage-start"]
    assert begun[0] == last
    assert _stages(directory)[last].adapter == _stages(finished)[last].adapter


def test_pipeline_is_added_to_a_run(finished: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(finished, tmp_path / "copy"))
    steps = [PluginChoice(name=NUDGE), PluginChoice(name=NUDGE, by=0.125)]
    before = len(list((directory / "defenses").iterdir()))
    inline.defend(directory, [steps])
    assert len(list((directory / "defenses").iterdir())) == before + 1
    (name,) = _stages(directory).keys() - _stages(finished).keys()
    assert name.startswith(f"defended:{NUDGE}+tests.doubles.plugins-nudge-")


def test_report_names_a_pipeline_by_its_steps(finished: Path) -> None:
    page = report.write(finished).read_text()
    assert "Defended: nudge+nudge" in page

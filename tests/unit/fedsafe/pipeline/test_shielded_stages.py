"""Stages whose defense returns a shield: where it lies, and that replies go through it."""

import shutil
from pathlib import Path

import pytest

from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.pipeline import defend, opening
from fedsafe.runs.events import Events
from fedsafe.runs.store import Store
from fedsafe.shields import load_shield
from tests.doubles.runs import run_inline, summary_of

SHIELDING = "tests.doubles.plugins:shielding"


@pytest.fixture(scope="module")
def shielded(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a run whose defense returned a shield."""
    directory = tmp_path_factory.mktemp("runs") / "shielded"
    values = experiment.model_dump(mode="json")
    values["evaluation"]["conditions"] = ["plain", "shielded"]
    run_inline(validate({**values, "defenses": [SHIELDING]}), directory)
    return directory


def test_shield_of_a_defense_lies_beside_its_adapter(shielded: Path) -> None:
    found = load_shield(shielded / summary_of(shielded).stages[-1].path)
    assert (found and found.name) == "secret-prefix"


def test_defended_stage_is_evaluated_behind_its_shield(shielded: Path) -> None:
    trained, defended = summary_of(shielded).stages[1:]
    assert ("shielded" in trained.scores.skipped, defended.scores.skipped) == (True, {})


def test_secret_of_a_shield_is_in_its_own_files_alone(shielded: Path) -> None:
    files = (path for path in shielded.rglob("*") if path.is_file())
    holding = {path.name for path in files if b"velvet marmot 77" in path.read_bytes()}
    assert holding == {"shield.json", "chat_template.jinja"}


def test_changed_shield_is_a_sentence(shielded: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(shielded, tmp_path / "copy"))
    path = directory / summary_of(directory).stages[-1].path / "shield.json"
    path.write_text(path.read_text().replace("velvet marmot", "velvet badger"))
    run = opening.open_run(Store(directory).experiment, Store(directory), Events(), "inline")
    with pytest.raises(RunError, match=r"shield\.json was changed or damaged"):
        defend.reevaluate(run)

"""One small run of real records, for every test of what is made from them."""

import shutil
from pathlib import Path

import pytest

from fedsafe import run
from fedsafe.experiment import Experiment
from fedsafe.experiment.load import validate


@pytest.fixture(scope="session")
def finished(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two rounds with a probe after each; nothing writes to it."""
    values = experiment.model_dump(mode="json")
    values["evaluation"]["probe_every"] = 1
    directory = tmp_path_factory.mktemp("integrations") / "run"
    run(validate(values), directory)
    return directory


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of it for a test that writes."""
    return Path(shutil.copytree(finished, tmp_path / "run"))

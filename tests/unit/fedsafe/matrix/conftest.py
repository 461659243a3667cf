"""A matrix of four cells on the tiny model, run once."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedsafe.experiment import Experiment
from fedsafe.matrix.library import run_matrix
from fedsafe.matrix.results import MatrixFrames

NUDGE, FAIL = "tests.doubles.plugins:nudge", "tests.doubles.plugins:fail"


@pytest.fixture(scope="session")
def written(experiment: Experiment) -> dict[str, Any]:
    """A matrix whose cells share a base, a federation and an attack; one defense fails."""
    return {
        "name": "small",
        "experiment": json.loads(experiment.as_json()),
        "set": {"red_team": True},
        "axes": {
            "attack": {"none": "none", "flip": {"malicious": 1, "behaviour": "sign-flip"}},
            "defenses": {"none": "none", "nudge": NUDGE, "fail": FAIL},
        },
        "exclude": [{"attack": "none", "defenses": ["nudge", "fail"]}],
    }


@pytest.fixture(scope="session")
def found(
    written: dict[str, Any], flower_task: None, tmp_path_factory: pytest.TempPathFactory
) -> MatrixFrames:
    """The finished matrix."""
    return run_matrix(written, tmp_path_factory.mktemp("matrix") / "small")


@pytest.fixture(scope="session")
def home(found: MatrixFrames) -> Path:
    """Its directory."""
    return found.directory

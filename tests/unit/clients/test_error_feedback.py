"""Rounding errors that are kept: which round uses which, and what is deleted."""

import logging
import stat
from pathlib import Path

import pytest
import torch

from clients.error_feedback import ErrorFeedback, ErrorFeedbackInMemory, ErrorFeedbackOnDisk
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Job
from fedsafe.models.adapters import Tensors
from tests.doubles.jobs import plain_job


@pytest.fixture(params=["memory", "disk"])
def residuals(request: pytest.FixtureRequest, tmp_path: Path) -> ErrorFeedback:
    return ErrorFeedbackInMemory() if request.param == "memory" else ErrorFeedbackOnDisk(tmp_path)


def _job(number: int, run: str = "a", federation: str = "main", client: int = 0) -> Job:
    return plain_job(Experiment(), client, federation=federation, round=number, run=run)


def _keep(residuals: ErrorFeedback, *jobs: Job) -> None:
    for job in jobs:
        residuals.keep(job, {"w": torch.tensor([float(job.round)])})


def _value(found: Tensors | None) -> float | None:
    return None if found is None else float(found["w"])


def _files(home: Path) -> list[str]:
    return sorted(path.stem.split("-", 1)[1] for path in home.rglob("*.safetensors"))


def test_nothing_is_there_at_first(residuals: ErrorFeedback) -> None:
    assert residuals.before(_job(1)) is None


@pytest.mark.parametrize(("number", "wanted"), [(1, None), (2, 1.0), (3, 2.0), (9, 2.0)])
def test_last_round_before_is_used(
    number: int, wanted: float | None, residuals: ErrorFeedback
) -> None:
    _keep(residuals, _job(1), _job(2))
    assert _value(residuals.before(_job(number))) == wanted


@pytest.mark.parametrize(
    "other", [_job(2, run="b"), _job(2, federation="control"), _job(2, client=1)]
)
def test_others_do_not_use_it(other: Job, residuals: ErrorFeedback) -> None:
    _keep(residuals, _job(1))
    assert residuals.before(other) is None


def test_what_came_after_a_restart_is_forgotten(residuals: ErrorFeedback) -> None:
    _keep(residuals, _job(1), _job(2), _job(3), _job(2))
    assert _value(residuals.before(_job(4))) == 2.0


def test_two_federations_of_a_run_are_kept_apart(residuals: ErrorFeedback) -> None:
    _keep(residuals, _job(1, federation="control"), _job(2))
    assert _value(residuals.before(_job(2, federation="control"))) == 1.0


def test_last_two_rounds_are_on_disk(tmp_path: Path) -> None:
    _keep(ErrorFeedbackOnDisk(tmp_path), _job(1), _job(2), _job(3))
    assert _files(tmp_path) == ["main-00000002", "main-00000003"]


def test_files_of_an_earlier_run_are_deleted(tmp_path: Path) -> None:
    _keep(ErrorFeedbackOnDisk(tmp_path), _job(1), _job(2), _job(1, run="b"))
    assert _files(tmp_path) == ["main-00000001"]


def test_directory_is_for_this_user_alone(tmp_path: Path) -> None:
    _keep(ErrorFeedbackOnDisk(tmp_path / "state"), _job(1))
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_file_that_was_cut_short_is_told_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _keep(ErrorFeedbackOnDisk(tmp_path), _job(1))
    next(tmp_path.rglob("*.safetensors")).write_bytes(b"cut")
    with caplog.at_level(logging.WARNING):
        found = ErrorFeedbackOnDisk(tmp_path).before(_job(2))
    assert (found, "cannot be read" in caplog.text) == (None, True)

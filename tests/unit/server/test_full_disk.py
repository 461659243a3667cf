"""A disk that fills up: a sentence, nothing lost, and the run goes on when there is room."""

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clients.app import app
from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.launch.grid import InlineGrid
from fedsafe.runs.events import Event, Events
from fedsafe.runs.records import Summary
from fedsafe.runs.store import Store
from server.experiment import run_experiment

LIMIT = resource.RLIMIT_FSIZE


@pytest.fixture(scope="module")
def long(experiment: Experiment) -> Experiment:
    values = experiment.model_dump(mode="json")
    values["federation"] |= {"rounds": 3}
    return validate(values)


@pytest.fixture(scope="module")
def expected(long: Experiment, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the adapters of an undisturbed run."""
    return _adapters(_lead(long, tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture
def _limits() -> Iterator[None]:
    """Put the limits back, whatever a test does to them."""
    before = resource.getrlimit(LIMIT)
    yield
    resource.setrlimit(LIMIT, before)


def _lead(
    experiment: Experiment, directory: Path, listen: Callable[[Event], None] | None = None
) -> Summary:
    grid = InlineGrid(app, experiment.federation.clients)
    store = Store(directory)
    return run_experiment(grid, experiment, store, Events(store.events, listen), "inline")


def _adapters(summary: Summary) -> list[str]:
    return [stage.adapter for stage in summary.stages]


@pytest.mark.usefixtures("_limits")
@pytest.mark.parametrize("kilobytes", [0, 2, 6])
@pytest.mark.parametrize("moment", ["round-start", "client"])
def test_run_goes_on_when_there_is_room_again(
    moment: str, kilobytes: int, long: Experiment, expected: list[str], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(LIMIT)

    def fill(event: Event) -> None:
        if event.kind == moment and len(Store(tmp_path / "run").rounds()) == 1:
            resource.setrlimit(LIMIT, (kilobytes * 1024, hard))

    with pytest.raises(RunError):
        _lead(long, tmp_path / "run", fill)
    resource.setrlimit(LIMIT, (soft, hard))
    assert Store(tmp_path / "run").checkpoints() == [1]
    assert _adapters(_lead(long, tmp_path / "run")) == expected


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of two megabytes, where that is allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:  # noqa: PLW1510
        pytest.skip("mounting needs to be allowed")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk_is_told_and_gone_on_from(
    long: Experiment, expected: list[str], small_disk: Path
) -> None:
    filler = small_disk / "filler"

    def fill(event: Event) -> None:
        if event.kind == "round-end" and not filler.exists():
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass

    with pytest.raises(RunError, match=r"(no room|No space left).*"):
        _lead(long, small_disk / "run", fill)
    filler.unlink()
    assert _adapters(_lead(long, small_disk / "run")) == expected

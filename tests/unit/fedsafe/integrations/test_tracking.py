"""`fedsafe run --log`: a tracker hears of rounds as they end, and never stops a run."""

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fedsafe.cli import main
from fedsafe.errors import ConfigError, MissingDependencyError
from fedsafe.integrations import tracking
from fedsafe.integrations.tracked_run import TrackedRun
from fedsafe.integrations.trackers import TRACKERS
from fedsafe.integrations.tracking import LiveTracking
from fedsafe.runs.events import Event
from fedsafe.runs.files import read_lines
from fedsafe.runs.store import Store


class Remembering:
    """A tracker that remembers, in place of another program's; it can fail or hang."""

    def __init__(self, store: Path, run: TrackedRun) -> None:
        self.told: list[Any] = []
        self.store, self.run = store, run
        self.failing: Exception | None = None
        self.hanging = threading.Event()
        self.hanging.set()
        MADE.append(self)

    def log_round(self, federation: str, number: int, figures: Mapping[str, float]) -> None:
        self.hanging.wait(10)
        if self.failing is not None and number == 2:
            raise self.failing
        self.told.append((federation, number))

    def log_stage(self, name: str, figures: Mapping[str, float]) -> None:
        self.told.append(name)

    def close(self, status: str) -> None:
        self.told.append(status)


MADE: list[Remembering] = []


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What the display hears; the tracker ``xml`` is of this Python, so that it is installed."""
    MADE.clear()
    monkeypatch.setitem(TRACKERS, "xml", Remembering)  # type: ignore[index]
    return []


def _events(run: Path) -> list[Event]:
    found = []
    for row in read_lines(run / "events.jsonl"):
        kind, message, when = row.pop("kind"), row.pop("message"), row.pop("time")
        if kind == "run-start":
            row["directory"] = str(run)
        found.append(Event(kind, message, row, when))
    return found


def _wait_for_the_tracker() -> None:
    while not MADE:
        time.sleep(0.01)


def _notes(heard: list[Event]) -> list[str]:
    return [event.message for event in heard if "xml" in event.message]


def test_a_run_is_told_from_its_first_round_to_its_end(copied: Path, heard: list[Event]) -> None:
    events = _events(copied)
    (copied / "rounds.jsonl").unlink()  # as at its start
    (copied / "summary.json").unlink()
    live = LiveTracking(["xml"], None, heard.append)
    for event in events:
        live(event)
    live.close()
    (made,) = MADE
    assert made.told == ["base", ("main", 1), ("main", 2), "trained", "completed"]
    assert (made.store, made.run.name) == (copied / "exports" / "xml", "run")
    assert heard == events


def test_a_resumed_run_is_told_whole_and_once(finished: Path, heard: list[Event]) -> None:
    live = LiveTracking(["xml"], finished / "elsewhere", heard.append)
    for event in _events(finished):
        live(event)
    live.close()
    (made,) = MADE
    assert made.told.count(("main", 1)) == made.told.count(("main", 2)) == 1
    assert made.store == finished / "elsewhere" / "xml"


def test_a_tracker_that_fails_costs_one_warning(copied: Path, heard: list[Event]) -> None:
    events = _events(copied)
    (copied / "rounds.jsonl").unlink()
    live = LiveTracking(["xml"], None, heard.append)
    live(next(event for event in events if event.kind == "run-start"))
    _wait_for_the_tracker()
    MADE[0].failing = OSError("the disk is gone")
    for event in events:
        if event.kind != "run-start":
            live(event)
    live.close()
    (note,) = _notes(heard)
    assert "xml failed and gets nothing more of this run, which goes on: the disk is gone." in note
    assert [event for event in heard if event.message != note][-1].kind == "run-end"


def test_a_tracker_that_hangs_is_left_alone(
    finished: Path, heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "CLOSING_SECONDS", 0.05)
    live = LiveTracking(["xml"], finished / "elsewhere", heard.append)
    start, *others = (event for event in _events(finished) if event.kind in tracking.HEARD)
    monkeypatch.setattr(Remembering, "log_stage", lambda self, *_: self.hanging.wait(10))
    monkeypatch.setattr(Remembering, "log_round", lambda self, *_: self.hanging.clear())
    live(start)
    _wait_for_the_tracker()
    for event in others:
        live(event)
    live.close()
    MADE[0].hanging.set()
    (note,) = _notes(heard)
    assert "xml has not written everything within 0 seconds" in note


def test_a_tracker_that_is_not_there_is_said_before_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'tensorboard'"):
        LiveTracking(["tensorbord"], None, lambda _: None)
    monkeypatch.setitem(TRACKERS, "nowhere", Remembering)  # type: ignore[index]
    with pytest.raises(MissingDependencyError, match=r"pip install 'fedsafe\[nowhere\]'"):
        LiveTracking(["nowhere"], None, lambda _: None)


def test_nothing_is_removed_for_a_run_whose_tracker_is_not_there(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TRACKERS, "nowhere", Remembering)  # type: ignore[index]
    command = ["run", str(copied / "experiment.yaml"), "--overwrite", "-o", str(copied)]
    assert main([*command, "--log", "nowhere"]) == 1
    assert main([*command, "--log", "tensorbord"]) == 2
    assert capsys.readouterr().err.count("error:") == 2
    assert (copied / "summary.json").is_file()


@pytest.mark.filterwarnings("default")
def test_tensorboard_hears_a_run_of_the_command_line(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real tracker; the run with it has the bits of the run without."""
    monkeypatch.chdir(tmp_path)
    experiment = str(finished / "experiment.yaml")
    assert main(["run", experiment, "--log", "tensorboard", "-o", "out"]) == 0
    found = EventAccumulator("out/exports/tensorboard/out")
    found.Reload()
    assert [one.step for one in found.Scalars("main/probe/refusal")] == [1, 2]
    ours, theirs = Store(Path("out")).summary(), Store(finished).summary()
    assert ours is not None
    assert theirs is not None
    assert [one.adapter for one in ours.stages] == [one.adapter for one in theirs.stages]
    assert "tensorflow" not in sys.modules

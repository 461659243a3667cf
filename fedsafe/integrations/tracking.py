"""Export of a run's records to experiment trackers, after the run or while it goes on.

Live tracking works in a thread of its own: a tracker that fails or hangs costs a warning, and
never the run.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from fedsafe.app import activate
from fedsafe.errors import RunError, reason_of
from fedsafe.integrations.figures import round_figures, settings_of, stage_figures
from fedsafe.integrations.tracked_run import TrackedRun, Tracker
from fedsafe.integrations.trackers import TRACKERS, check_installed
from fedsafe.runs.events import Event, Listener
from fedsafe.runs.files import digest
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Round, Scores, Stage
from fedsafe.runs.store import Store

EXPORTS: Final = RunFile.EXPORTS
"""Directory inside a run directory that holds what was exported, by tool."""
CLOSING_SECONDS = 60.0
"""How long a finished run waits for a tracker to write what is left."""
HEARD: Final = frozenset({"run-start", "round-end", "stage-end", "run-end"})
"""Kinds of events that trackers take."""


def export_to_tracker(directory: Path, name: str, output: Path | None = None) -> Path:
    """Write a run's settings, rounds and stages to a tracker, in place of an earlier export.

    Args:
        directory: A run directory, finished or not.
        name: ``tensorboard``, ``mlflow``, ``trackio`` or ``wandb``.
        output: The tracker's own directory, which may hold other runs; None: ``exports/NAME``
            in the run directory.

    Returns:
        That directory.

    Raises:
        MissingDependencyError: The tracker's package is not installed.
        RunError: It is no run directory, has nothing to export, or the tracker failed.
    """
    store = Store(directory)
    activate()
    summary, rounds = store.summary(), [*store.control.rounds(), *store.rounds()]
    if not rounds and (summary is None or not summary.stages):
        raise RunError(f"{directory} has no round and no stage yet: there is nothing to export.")
    target = output or directory / EXPORTS / name
    try:
        tracker = TRACKERS[name](target, _tracked(store))
        _log_records(tracker, store)
        tracker.close("running" if summary is None else summary.status)
    except (RunError, ImportError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever another program's code raises
        raise RunError(f"{name} could not take the run: {reason_of(error, 300)}.") from None
    return target


def _tracked(store: Store) -> TrackedRun:
    provenance, home = store.provenance(), store.directory.resolve()
    identity = (provenance.run if provenance is not None else "") or digest(str(home))
    return TrackedRun(home.name, identity, settings_of(store.experiment))


def _log_records(tracker: Tracker, store: Store) -> set[tuple[str, int]]:
    """Log every round and stage that is on record; return the rounds by federation."""
    logged: set[tuple[str, int]] = set()
    for federation, one in (("control", store.control), ("main", store)):
        for record in one.rounds():
            tracker.log_round(federation, record.round, round_figures(record))
            logged.add((federation, record.round))
    summary = store.summary()
    for stage in [] if summary is None else summary.stages:
        if stage.status == "done":
            tracker.log_stage(stage.name, stage_figures(stage))
    return logged


@dataclass(frozen=True)
class _Open:
    """A tracker, and the rounds that it has from the records: their events come late."""

    tracker: Tracker
    logged: set[tuple[str, int]]


class LiveTracking:
    """A listener that hands a run's rounds and stages to trackers as they end.

    Several runs may follow one another, as those of several seeds do. A run that is resumed is
    logged from its first round on.

    Args:
        names: Trackers by name.
        store: Directory that gets a directory for each tracker; None: ``exports`` in the run's.
        listen: Hears every event as well, and the warnings.

    Raises:
        ConfigError: There is no such tracker.
        MissingDependencyError: A tracker's package is not installed.
    """

    def __init__(self, names: Sequence[str], store: Path | None, listen: Listener) -> None:
        for name in names:
            check_installed(name)
        self._listen = listen
        self._warnings: queue.SimpleQueue[str] = queue.SimpleQueue()
        warn: Callable[[str], None] = self._warnings.put
        self._workers = [_Worker(name, store, warn) for name in dict.fromkeys(names)]

    def __call__(self, event: Event) -> None:
        """Hand on one event."""
        self._listen(event)
        if event.kind in HEARD:
            for worker in self._workers:
                worker.hear(event)
        self._warn()

    def close(self) -> None:
        """Wait until the trackers have written all, a minute at most."""
        for worker in self._workers:
            worker.close()
        self._warn()

    def _warn(self) -> None:
        while not self._warnings.empty():
            self._listen(Event("note", self._warnings.get()))


class _Worker:
    """The thread of one tracker; after its first failure it does nothing."""

    def __init__(self, name: str, store: Path | None, warn: Callable[[str], None]) -> None:
        self._name, self._store, self._warn = name, store, warn
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._open: _Open | None = None
        self._thread = threading.Thread(target=self._work, name=f"fedsafe-{name}", daemon=True)
        self._thread.start()

    def hear(self, event: Event) -> None:
        self._events.put(event)

    def close(self) -> None:
        self._events.put(None)
        self._thread.join(CLOSING_SECONDS)
        if self._thread.is_alive():
            self._warn(
                f"{self._name} has not written everything within {CLOSING_SECONDS:.0f} seconds and "
                f"is left alone. The records are whole: `fedsafe export RUN --to {self._name}`."
            )

    def _work(self) -> None:
        try:
            while (event := self._events.get()) is not None:
                self._log(event)
            self._end("interrupted")
        except Exception as error:  # noqa: BLE001 - another program's failure is no failure of the run
            self._warn(
                f"{self._name} failed and gets nothing more of this run, which goes on: "
                f"{reason_of(error, 300)}. Export it afterwards with `fedsafe export RUN --to "
                f"{self._name}`."
            )

    def _log(self, event: Event) -> None:
        data: dict[str, Any] = event.data
        if event.kind == "run-start":
            self._end("interrupted")
            self._begin(Path(str(data.get("directory", ""))))
        elif self._open is None:
            return
        elif event.kind == "round-end":
            record = Round.model_validate(data.get("record"))
            federation = str(data.get("federation", "main"))
            if (federation, record.round) not in self._open.logged:
                self._open.tracker.log_round(federation, record.round, round_figures(record))
        elif event.kind == "stage-end":
            self._log_stage(self._open.tracker, data)
        else:
            self._end(str(data.get("status", "")))

    def _begin(self, directory: Path) -> None:
        store = Store(directory)
        target = (self._store or directory / EXPORTS) / self._name
        tracker = TRACKERS[self._name](target, _tracked(store))
        self._open = _Open(tracker, _log_records(tracker, store))

    def _log_stage(self, tracker: Tracker, data: dict[str, Any]) -> None:
        try:
            stage = Stage(
                name=str(data.get("stage", "")),
                adapter="",
                path="",
                evaluation="",
                scores=Scores.model_validate(data.get("scores") or {}),
                seconds=float(data.get("seconds") or 0.0),
            )
        except ValidationError:
            return
        if stage.scores.measures:
            tracker.log_stage(stage.name, stage_figures(stage))

    def _end(self, status: str) -> None:
        if self._open is not None:
            opened, self._open = self._open, None
            opened.tracker.close(status)

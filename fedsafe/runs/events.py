"""Typed progress events, written to events.jsonl and sent to listeners.

Progress crosses process borders as events, so the server needs no terminal. Knows
nothing of how they are shown.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsafe.errors import FedSafeError
from fedsafe.runs.files import append_line
from fedsafe.runs.progress import Progress

TRANSIENT = frozenset({"train", "client", "evaluate"})
"""Kinds that are shown while they happen but not worth a line on disk."""


@dataclass(frozen=True)
class Event:
    """Something that happened, with its numbers."""

    kind: str
    message: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    time: float = 0.0
    """Seconds since the epoch."""


Listener = Callable[[Event], None]


class Events:
    """Event bus of a run.

    While it `ticks`, a run that has been silent for half a minute says how far it is, in an
    event of the kind ``progress``.
    """

    def __init__(self, path: Path | None = None, listen: Listener | None = None) -> None:
        self._path = path
        self._listen = listen
        self._progress = Progress()
        self._lock = threading.RLock()

    def __call__(self, kind: str, message: str = "", **data: Any) -> None:
        """Record and pass on one event."""
        with self._lock:
            self._tell(kind, message, data)
            self._progress.see(kind, data)
            self._tell_progress()

    @contextmanager
    def ticking(self, seconds: float = 1.0) -> Iterator[None]:
        """Look every so many seconds whether it is time to say how far the run is."""
        over = threading.Event()

        def tick() -> None:
            while not over.wait(seconds):
                with suppress(FedSafeError, OSError, ValueError), self._lock:
                    self._tell_progress()

        thread = threading.Thread(target=tick, name="fedsafe-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _tell_progress(self) -> None:
        numbers = self._progress.due()
        if numbers is not None and (self._path is None or self._path.parent.is_dir()):
            self._tell("progress", "", numbers)

    def _tell(self, kind: str, message: str, data: dict[str, Any]) -> None:
        event = Event(kind, message, data, time.time())
        if self._path is not None and kind not in TRANSIENT:
            line = {"time": round(event.time, 3), "kind": kind, "message": message, **data}
            append_line(self._path, line, flush=False)
        if self._listen is not None:
            self._listen(event)

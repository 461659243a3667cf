"""Typed progress events: written to events.jsonl, and heard by whoever listens.

Progress crosses process borders as events, so the server needs no terminal. Knows
nothing of how they are shown.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsafe.runs.files import append_line

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
    """Where parts of a run tell what they are doing."""

    def __init__(self, path: Path | None = None, listen: Listener | None = None) -> None:
        self._path = path
        self._listen = listen

    def __call__(self, kind: str, message: str = "", **data: Any) -> None:
        """Record and pass on one event."""
        event = Event(kind, message, data, time.time())
        if self._path is not None and kind not in TRANSIENT:
            line = {"time": round(event.time, 3), "kind": kind, "message": message, **data}
            append_line(self._path, line, flush=False)
        if self._listen is not None:
            self._listen(event)

"""Tail a run's events.jsonl from another process."""

import json
from pathlib import Path

from fedsafe.runs.events import Event, Events, Listener
from fedsafe.runs.layout import RunFile


class EventTail:
    """Reads new events of an events.jsonl file and passes them to a listener.

    Args:
        path: The file; it may come later.
        listen: Called with each event.
        whole: Whether the events that are there already count as new.
    """

    def __init__(self, path: Path, listen: Listener | None, *, whole: bool = False) -> None:
        self._path = path
        self._listen = listen
        self._position = path.stat().st_size if path.is_file() and not whole else 0
        self.progress = 0
        """How many rounds and stages have ended since."""

    def drain(self) -> None:
        """Pass on every whole line that is new."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            if self._path.stat().st_size < self._position:
                self._position = 0  # another run has taken its place
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is still being written
                self._position += len(line)
                self._hear(line)

    def tell(self, message: str) -> None:
        """Append a note to the event file, if the run exists."""
        self.drain()
        if (self._path.parent / RunFile.EXPERIMENT).is_file():
            Events(self._path)("note", message)
            self.drain()
        elif self._listen is not None:
            Events(None, self._listen)("note", message)

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            kind, message, time = said.pop("kind"), said.pop("message", ""), said.pop("time", 0.0)
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        self.progress += kind in {"round-end", "stage-end"}
        if self._listen is not None:
            self._listen(Event(kind, message, said, time))

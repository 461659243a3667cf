"""Progress file of the current round, read by `fedsafe status`.

Knows nothing of who reads it. The events on disk leave out single replies.
"""

import json
from pathlib import Path
from typing import Any

from fedsafe.runs.events import Event
from fedsafe.runs.files import write_text

FILE = ".progress.json"


class ProgressFile:
    """Updates the progress file from a run's events.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._now: dict[str, Any] = {}

    def hear(self, event: Event) -> None:
        """Handle one event; rewrite the file if the progress changed."""
        data = event.data
        if event.kind == "stage-start":
            self._now = {"stage": data["stage"]}
        elif event.kind == "round-start":
            kept = {key: data[key] for key in ("federation", "round", "rounds")}
            self._now = {**self._now, **kept, "answered": []}
        elif event.kind == "client" and "answered" in self._now:
            self._now["answered"] = [*self._now["answered"], data["client"]]
        elif event.kind in {"round-end", "run-end"}:
            self._now.pop("answered", None)
        else:
            return
        write_text(self._path, json.dumps({**self._now, "time": round(event.time, 3)}))

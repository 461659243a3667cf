"""Turn a node's log lines into operator-facing events."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Tell = Callable[..., None]
"""Takes the kind of an event, its sentence, and its data by name."""


class LogFollower:
    """Reads new lines of a log file (as ``tail -f``)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def lines(self) -> Iterator[str]:
        """Yield the whole lines that are new."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                new = file.read()
        except OSError:
            return
        self._at += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip()


class LogEvents:
    """Converts one node's status lines into events for the operator.

    Args:
        name: What the operator calls the client.
        tell: Told the events.
    """

    def __init__(self, name: str, tell: Tell) -> None:
        self._name, self._tell = name, tell
        self.connected = self.dismissed = False
        """Whether it ever was, and whether the server said that it needs it no more."""
        self._job: dict[str, Any] = {}
        """The work that goes on, or went on last."""

    def hear(self, line: str) -> None:
        """Handle one line of the log."""
        from clients.worker.status_lines import read

        if (said := read(line)) is None:
            return
        kind = said.pop("kind")
        self.connected = self.connected or kind == "connected"
        self.dismissed = kind == "farewell" or (self.dismissed and kind != "job-start")
        if kind == "job-start":
            self._job = said
            self._say(kind, f"{_which(said)} begun", said)
        elif kind == "job-end":
            self._job = {}
            self._say(kind, f"{_which(said)} done{_took(said)}", said)
        elif kind == "job-failed":
            which = _which(self._job) if self._job else "a message of the server"
            self._say(kind, f"{which} failed: {said.get('reason', '')}", {**self._job, **said})
            self._job = {}
        else:
            self._say(kind, str(said.pop("message", "")), said)

    def _say(self, kind: str, message: str, data: dict[str, Any]) -> None:
        self._tell(kind, message, **{**data, "name": self._name})


def _which(said: dict[str, Any]) -> str:
    prefix = "control round" if said.get("federation") == "control" else "round"
    return f"{prefix} {said.get('round', '?')}"


def _took(said: dict[str, Any]) -> str:
    seconds = said.get("seconds")
    return f" in {seconds:.1f} s" if isinstance(seconds, int | float) else ""

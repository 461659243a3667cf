"""A SuperNode's log, heard as events that its operator understands.

Knows nothing of processes.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fedsafe.launch.client_machine.identity import Address

Tell = Callable[..., None]
"""Takes the kind of an event, its sentence, and its data by name."""

COLOR = re.compile(r"\x1b\[[0-9;]*m")
RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*(\w+(?:Error|Exception)): (\S.*)$")
"""Last line of a traceback."""


class Follower:
    """Reads the lines that are added to a log, and keeps the last of them."""

    def __init__(self, path: Path, kept: int = 200) -> None:
        self._path = path
        self._kept = kept
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""
        self.recent: list[str] = []

    def lines(self) -> Iterator[str]:
        """Yield the whole lines that are new, without colors."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                new = file.read()
        except OSError:
            return
        self._at += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        for line in whole:
            text = COLOR.sub("", line.decode(errors="replace")).rstrip()
            self.recent = [*self.recent, text][-self._kept :]
            yield text


class Listener:
    """Turns a SuperNode's log into events that its operator understands.

    Args:
        name: What the operator calls the client.
        server: Where it connects to.
        tell: Told the events.
    """

    def __init__(self, name: str, server: Address, tell: Tell) -> None:
        self._name, self._server, self._tell = name, server, tell
        self.connected = False
        self._away = False
        self._job: dict[str, Any] | None = None
        self._raised: str | None = None
        """The error of the ClientApp whose traceback goes by; None: none does."""

    def hear(self, line: str) -> None:
        """Take one line of the log."""
        from clients.told import read

        if (said := read(line)) is not None:
            self._work(said)
        elif "Connection attempt failed, retrying" in line:
            self._lost()
        elif "SuperNode ID:" in line or "Connection successful after" in line:
            self._found()
        elif "Sending: " in line:
            self._sent()
        elif "Failed to send message" in line:
            why = line.partition("Failed to send message")[2].partition(": ")[2]
            self._say("lost", f"its reply did not reach the server: {why or 'no reason given'}")
        elif "raised an exception" in line:
            self._raised = ""
        elif self._raised is not None and (raised := RAISED.match(line)):
            self._raised = raised[2]

    def ended(self) -> None:
        """Take note that the SuperNode is gone."""
        self.connected = self._away = False
        self._job = self._raised = None

    def _found(self) -> None:
        if not self.connected or self._away:
            self._say("connected", f"connected to {self._server}")
        self.connected, self._away = True, False

    def _lost(self) -> None:
        if not self._away:
            self._say("away", f"no answer from {self._server}; trying until there is one")
        self._away = True

    def _work(self, said: dict[str, Any]) -> None:
        which = _which(said)
        data = {name: value for name, value in said.items() if name != "kind"}
        if said["kind"] == "job-start":
            self._job, self._raised = data, None
            self._say("job-start", f"{which} begun", **data)
        elif said["kind"] == "job-end":
            self._job = None
            seconds = said.get("seconds")
            took = f" in {seconds:.1f} s" if isinstance(seconds, int | float) else ""
            self._say("job-end", f"{which} done{took}", **data)

    def _sent(self) -> None:
        """A reply goes out; if no work was done, it is an error."""
        if self._job is None and self._raised is None:
            return
        which = _which(self._job) if self._job else "a message of the server"
        why = self._raised or "its ClientApp process died"
        self._say("job-failed", f"{which} failed: {why}", **(self._job or {}), reason=why)
        self._job = self._raised = None

    def _say(self, kind: str, message: str, **data: Any) -> None:
        self._tell(kind, message, name=self._name, **data)


def _which(said: dict[str, Any]) -> str:
    prefix = "control round" if said.get("federation") == "control" else "round"
    return f"{prefix} {said.get('round', '?')}"

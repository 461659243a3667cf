"""Crash journal of replies: which client's reply was being handled when the server was killed.

A process that the system kills for its memory cannot say why. So the server writes down
whose reply it is about to rebuild, and removes that when the reply is stored; what a
restarted server finds there names the client. It leaves that client out of the round, and
after several kills out of the run, instead of being killed by the same reply again.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fedsafe.errors import RunError
from fedsafe.runs.events import Events
from fedsafe.runs.files import append_line, read_lines
from fedsafe.runs.layout import RunFile

MARKER = ".reply-being-rebuilt.json"
"""In the run directory; there while a reply is handled."""
MOST_KILLS = 3
"""Kills after which a client is left out of the run."""


class Kill(BaseModel):
    """One kill of the server: whose reply it was handling, and of which round."""

    model_config = ConfigDict(frozen=True)
    federation: str
    round: int
    client: int
    message: str
    """Id of the message that was answered."""


class ReplyJournal:
    """The replies over which the servers of one run were killed.

    Args:
        directory: The run directory.
        events: Where a kill is noted.

    Raises:
        RunError: The record of earlier kills cannot be read.
    """

    def __init__(self, directory: Path, events: Events) -> None:
        self._marker, self._kills = directory / MARKER, directory / RunFile.SERVER_KILLS
        self._federation, self._round = "", 0
        self.kills = _read(self._kills)
        if self._marker.is_file():
            self._enter(events)

    def begin_round(self, federation: str, number: int) -> None:
        """Set the round that the replies from now on belong to."""
        self._federation, self._round = federation, number

    def begin(self, client: int, message: str) -> None:
        """Write down that a client's reply is being handled.

        It is not flushed to the disk: the kill of a process loses nothing, and a power cut
        is no client's fault.
        """
        kill = Kill(federation=self._federation, round=self._round, client=client, message=message)
        with suppress(OSError):  # a full disk is told of where the reply is stored
            self._marker.write_text(kill.model_dump_json(), encoding="utf-8")

    def end(self) -> None:
        """Write down that no reply is being handled."""
        self._marker.unlink(missing_ok=True)

    def left_out(self, clients: Iterable[int]) -> dict[int, str]:
        """Return the clients that this round leaves out, each with the reason."""
        found = {client: self._reason(client) for client in clients}
        return {client: reason for client, reason in found.items() if reason}

    def _reason(self, client: int) -> str:
        kills = [kill for kill in self.kills if kill.client == client]
        if len(kills) >= MOST_KILLS:
            return f"the server was killed {len(kills)} times while it handled this client's reply"
        now = (self._federation, self._round)
        if any((kill.federation, kill.round) == now for kill in kills):
            return "the server was killed while it handled this client's reply to this round"
        return ""

    def _enter(self, events: Events) -> None:
        """Enter what the marker of a killed server says, and remove the marker."""
        try:
            kill = Kill.model_validate_json(self._marker.read_bytes())
        except (OSError, ValidationError):  # killed while it wrote the marker: before the reply
            self.end()
            return
        self.kills.append(kill)
        append_line(self._kills, kill.model_dump(mode="json"))
        self.end()
        number = sum(one.client == kill.client for one in self.kills)
        rest = "the run" if number >= MOST_KILLS else f"round {kill.round}"
        events(
            "note",
            f"The server was killed while it handled client {kill.client}'s reply to round "
            f"{kill.round} of the {kill.federation} federation ({number} of {MOST_KILLS} times). "
            f"Client {kill.client} is left out of {rest}.",
        )


def _read(path: Path) -> list[Kill]:
    try:
        rows: list[Any] = read_lines(path)
        return [Kill.model_validate(row) for row in rows]
    except ValueError as error:
        raise RunError(
            f"{path} cannot be read: {' '.join(str(error).split())[:120]}. Restore it, or remove "
            "it to ask its clients again."
        ) from None

"""Collect one round's replies: ask the cohort until all have answered or time is up.

A client whose machine or trainer dies is asked again when it is back; one that refuses is not.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.serverapp import Grid

from fedsafe.experiment.schema import Federation
from fedsafe.runs.events import Events
from server.transport import client_registry
from server.transport.client_errors import LOST, in_words, transient
from server.transport.client_registry import ClientRegistry
from server.transport.dispatch import Dispatcher
from server.transport.nodes import Node
from server.transport.reply_journal import ReplyJournal
from server.transport.waiting_notes import WaitingNotes

RETRY_SECONDS = (2.0, 8.0, 30.0)
"""Pauses before a client is asked for the second, third, ... time; the last one stays."""
LOOK_SECONDS = 5.0
"""Between two looks at who is online."""


@dataclass
class _Asked:
    """How it stands with one client of the cohort."""

    request: Message
    """What it is asked; its address and its time are written when it is sent."""
    times: int = 0
    due: float = 0.0
    """When it may be asked (monotonic seconds)."""
    message: str = ""
    """Id of the newest message under way; "" where there is none."""
    session: Node | None = None
    """Its node when that was sent."""
    reason: str = "offline"
    """Why there is no reply of it."""


class RoundCollector:
    """Collects the replies of one round's cohort, with retries and a deadline.

    Args:
        grid: Where the nodes are.
        registry: Which node stands for which client.
        requests: What each client of the cohort is asked.
        settings: Deadline, grace and retries.
        minimum: Replies that a round needs.
        events: Receives events about retries and about clients the round waits for.
        journal: Where it is written down whose reply is being handled.
        left_out: Clients of the cohort that are not asked.
    """

    def __init__(
        self,
        grid: Grid,
        registry: ClientRegistry,
        requests: Mapping[int, Message],
        settings: Federation,
        minimum: int,
        events: Events,
        *,
        journal: ReplyJournal | None = None,
        left_out: Collection[int] = (),
    ) -> None:
        self._registry, self._events, self._settings = registry, events, settings
        self._minimum, self._dispatcher = minimum, Dispatcher(grid, journal)
        self._asked = {client: _Asked(request) for client, request in requests.items()}
        self._open = {n: one for n, one in self._asked.items() if n not in left_out}
        self._until = self._looked = 0.0
        # on separate machines only: elsewhere a late client waits for its turn
        self._grace = settings.grace if registry.members is not None else None
        self._notes = WaitingNotes(events, len(requests), minimum, settings.deadline)
        self._hoped = self._checked = 0.0  # seconds of waiting for the absent; the last look
        self._enough: float | None = None  # when the round had the replies it needs

    @property
    def sent(self) -> int:
        """Return how many messages were sent."""
        return sum(one.times for one in self._asked.values())

    def times(self, client: int) -> int:
        """Return how often a client was asked."""
        return self._asked[client].times

    def reason(self, client: int) -> str:
        """Return why there is no reply of a client."""
        return self._asked[client].reason

    def assemble(self) -> None:
        """Wait until as many of the cohort are online as the round needs replies.

        Waits up to the deadline, and on separate machines only: elsewhere nobody comes.
        """
        self._registry.refresh()
        until = time.monotonic() + self._settings.deadline
        while self._registry.members is not None and time.monotonic() < until:
            there = sum(client in self._registry.nodes for client in self._open)
            if there >= self._minimum:
                return
            self._notes.too_few(there)
            self._dispatcher.pause()
            self._registry.refresh()

    def replies(self, enough: Callable[[], bool]) -> Iterator[tuple[int, Message]]:
        """Yield (client, its reply) as replies come, errors that are final included.

        Args:
            enough: Says whether the round has the replies that it needs.

        Raises:
            RunError: The SuperLink does not answer.
        """
        self._checked = time.monotonic()
        self._until = self._checked + self._settings.deadline
        self._notes.begin()
        while not self._over(enough()):
            self._look()
            if self._notes.due and self._open and self._registry.members is not None:
                states = {n: self._state(n, one) for n, one in self._open.items()}
                self._notes.waiting(states, self._end())
            for client, reply in self._dispatcher.take():  # before it is asked anew
                if self._final(client, reply):
                    yield client, reply
                    if self._dispatcher.one_by_one:  # each has the whole deadline to itself
                        self._until = time.monotonic() + self._settings.deadline
                del reply
            self._send()
            if self._open:
                self._dispatcher.pause()
        for one in filter(lambda open_: open_.message, self._open.values()):
            one.reason = self._too_late()

    def _over(self, enough: bool) -> bool:
        """Say whether the round waits no longer."""
        now = time.monotonic()
        if enough and self._enough is None:
            self._enough = now
        if not self._open or now >= self._end():
            return True
        passed, self._checked = now - self._checked, now
        if any(one.message or client in self._registry.nodes for client, one in self._open.items()):
            return False
        if any(self._registry.expected(client) for client in self._open):
            self._hoped += passed
            if not enough or self._hoped < client_registry.RETURN_SECONDS:
                return False
        if enough or self._registry.members is None:
            return True
        self._notes.too_few(len(self._asked) - len(self._open))
        return False

    def _end(self) -> float:
        """Return when the round ends at the latest, as things stand (monotonic seconds)."""
        if self._enough is None or self._grace is None:
            return self._until
        return min(self._until, self._enough + self._grace)

    def _look(self) -> None:
        """See who is online now; a node that went or was started again has lost its message."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._registry.refresh()
        for client, one in list(self._open.items()):
            session = self._registry.session(client)
            if one.message and session != one.session:
                gone = "its node was started again" if session else "its node went offline"
                self._again(client, one, gone)

    def _send(self) -> None:
        """Ask those who are online and due."""
        now, nodes = time.monotonic(), self._registry.nodes
        due = {
            client: one
            for client, one in self._open.items()
            if not one.message and now >= one.due and client in nodes
        }
        messages = {client: _addressed(one.request, nodes[client]) for client, one in due.items()}
        message_ids = self._dispatcher.send(messages, max(self._until - now, 0.1))
        for client, message_id in message_ids.items():
            one = due[client]
            one.times += 1
            one.message, one.session = message_id, self._registry.session(client)
            if not message_id:
                self._again(client, one, "its node could not be reached")

    def _final(self, client: int, reply: Message) -> bool:
        """Say whether a reply is the client's last word; if not, ask it again."""
        one = self._open.get(client)
        if one is None:
            return False
        if reply.has_error():
            if reply.metadata.reply_to_message_id != one.message:
                return False  # of a message that another one has replaced
            if transient(reply.error):
                self._looked = 0.0  # nobody is asked again before we know who is there
                again = self._again(client, one, in_words(reply.error) or _cause(reply))
                if again or reply.error.code in LOST:
                    return False
        self._open.pop(client, None)
        if not reply.has_error():
            self._registry.worked(client)
        return True

    def _again(self, client: int, one: _Asked, reason: str) -> bool:
        """Let a client be asked again; say whether it will be."""
        one.message, one.reason = "", reason
        if one.times > self._settings.retries:
            one.reason = f"{reason} (asked {one.times} times)"
            del self._open[client]
            return False
        one.due = time.monotonic() + RETRY_SECONDS[min(one.times, len(RETRY_SECONDS)) - 1]
        self._events("note", f"Client {client}: {reason}. It is asked again when it is there.")
        return True

    def _too_late(self) -> str:
        if time.monotonic() < self._until and self._grace is not None:
            return f"no reply within {self._grace:g} s of the {self._minimum} that a round needs"
        return f"no reply in {self._settings.deadline:g} s"

    def _state(self, client: int, one: _Asked) -> str:
        """Return what the round knows of a client that it waits for."""
        if one.message:
            return "at work"
        if client in self._registry.nodes:
            return f"{one.reason}; is asked again"
        return "offline, expected back" if self._registry.expected(client) else "offline"


def _addressed(request: Message, node: int) -> Message:
    """Return a copy of a request addressed to a node; its time to live starts now."""
    known = request.metadata
    return Message(
        request.content,
        dst_node_id=node,
        message_type=known.message_type,
        group_id=known.group_id,
    )


def _cause(reply: Message) -> str:
    return " ".join((reply.error.reason or "").split())[:200]

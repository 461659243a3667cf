"""Send messages and yield their replies one by one as they arrive.

Replies are matched by the message they answer: an error from an unreachable node
carries another sender. Knows nothing of what is in them.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from flwr.app import Message
from flwr.serverapp import Grid

from server.transport.nodes import patiently
from server.transport.reply_fetcher import ReplyFetcher
from server.transport.reply_journal import ReplyJournal
from server.transport.reply_limits import Bounds, bounds

SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two looks for replies."""
LATE = 0.05
"""By which share of the time that was waited a reply may be noticed late."""
IDLE = 4
"""Pauses last at least this many times as long as a look takes."""
SUPERLINK = 1
"""Node id of the SuperLink, which answers for nodes that it cannot reach."""


@dataclass(frozen=True)
class Sent:
    """A message in flight."""

    key: int
    """Who it is for, as the sender calls them."""
    node: int
    until: float
    """End of its life (monotonic seconds)."""
    limits: Bounds
    """Of the reply."""


class Dispatcher:
    """Tracks messages in flight by recipient, and takes their replies.

    Args:
        grid: Where the nodes are.
        journal: Where it is written down whose reply is being handled; None: nowhere.
    """

    def __init__(self, grid: Grid, journal: ReplyJournal | None = None) -> None:
        self._grid = grid
        self._journal = journal
        self._fetcher = ReplyFetcher(grid, self._enter)
        self._marked = False
        self._sent: dict[str, Sent] = {}
        self._since = time.monotonic()
        """When something was sent or came last."""
        self._looked = 0.0
        self.one_by_one = bool(getattr(grid, "one_by_one", False))
        """Whether the grid works on messages in turn, while replies are asked for."""

    @property
    def under_way(self) -> set[int]:
        """Return recipients whose message has neither expired nor been answered."""
        return {sent.key for sent in self._sent.values()}

    def send(self, messages: Mapping[int, Message], seconds: float) -> dict[int, str]:
        """Send a message to each; return the messages' ids, "" where it could not be sent.

        A message lives for these seconds and no longer: otherwise a straggler would work
        through stale ones for ever.

        Raises:
            RunError: The SuperLink does not answer.
        """
        if not messages:
            return {}
        for message in messages.values():
            message.metadata.ttl = seconds
        until = time.monotonic() + seconds
        listed = list(messages.values())
        pushed = set(patiently(lambda: list(self._grid.push_messages(listed))))
        ids = {}
        for key, message in messages.items():
            # Flower's grids write the id into the message, and return those that were taken.
            found = message.metadata.message_id
            ids[key] = found if found in pushed else ""
            if ids[key]:
                node = message.metadata.dst_node_id
                self._sent[found] = Sent(key, node, until, bounds(message))
        self._since = time.monotonic()
        return ids

    def take(self) -> Iterator[tuple[int, Message]]:
        """Look once for each reply, and yield (whose, reply); one reply is in memory at a time.

        A reply counts only if it comes from the node that was asked, or is the SuperLink's
        word that it cannot come.

        Raises:
            RunError: The SuperLink does not answer.
        """
        begun = time.monotonic()
        self._looked = 0.0
        alive = [one for one in list(self._sent) if self.one_by_one or not self._dead(one, begun)]
        looked = patiently(partial(self._fetcher.look, alive))
        self._looked = time.monotonic() - begun
        for message_id in alive:
            begun = time.monotonic()
            try:
                pulled = patiently(partial(self._pull, message_id, looked))
                if not pulled:
                    self._looked += time.monotonic() - begun
                while pulled:
                    reply = pulled.pop(0)
                    sent = self._sent.get(reply.metadata.reply_to_message_id)
                    if sent is not None and _answers(reply, sent.node):
                        del self._sent[reply.metadata.reply_to_message_id]
                        self._since = time.monotonic()
                        yield sent.key, reply
                    del reply
            finally:
                self._leave()

    def _enter(self, message_id: str) -> None:
        """Write down whose reply is about to be rebuilt."""
        if self._journal is not None:
            self._marked = True
            self._journal.begin(self._sent[message_id].key, message_id)

    def _leave(self) -> None:
        """Write down that the reply was handled, or refused."""
        if self._journal is not None and self._marked:
            self._marked = False
            self._journal.end()

    def _pull(self, message_id: str, looked: bool) -> list[Message]:
        sent = self._sent.get(message_id)
        if sent is None:
            return []
        return self._fetcher.pull(message_id, sent.node, sent.limits, looked=looked)

    def _dead(self, message_id: str, now: float) -> bool:
        """Forget a message at the end of its life."""
        sent = self._sent.get(message_id)
        if sent is None or sent.until < now:
            self._sent.pop(message_id, None)
            self._fetcher.forget(message_id)
            return True
        return False

    def pause(self) -> None:
        """Pause before the next look: longer the longer nothing comes, and on a slow grid."""
        waited = time.monotonic() - self._since
        pause = min(max(LATE * waited, SHORTEST_PAUSE), LONGEST_PAUSE)
        time.sleep(max(pause, min(IDLE * self._looked, 10 * LONGEST_PAUSE)))


def _answers(reply: Message, node: int) -> bool:
    sender = reply.metadata.src_node_id
    return sender == node or (reply.has_error() and sender == SUPERLINK)

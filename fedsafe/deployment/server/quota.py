"""Per-client quotas of the SuperLink: one reply per message, of bounded size.

A reply may have twice the objects and twice the bytes of the question it answers, and some
slack: a client that was sent an adapter sends one back.
"""

import time
from collections.abc import Callable, Collection, Iterable

from fedsafe.deployment.server import pending
from fedsafe.deployment.server.pending import NoReply, PendingMessage, QuotaExceeded

SLACK_BYTES = 4 * 1024**2
IDLE = 190.0
"""Seconds without a piece after which a reply counts as broken off; Flower's are 180."""
LINGER = 60.0
"""Seconds that a reply outlives its question, for a server that is just taking it."""


class Quotas:
    """Quotas of one SuperLink's pending messages; not thread-safe."""

    def __init__(
        self, release: Callable[[str], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._release = release  # frees a message and its objects in the SuperLink
        self._clock = clock
        self._questions: dict[str, PendingMessage] = {}
        self._objects: dict[str, list[int]] = {}
        """Of each object of a question: bytes, and how many questions hold it."""

    # What the server does ---------------------------------------------------------------

    def asked(self, message: str, question: PendingMessage) -> None:
        """Register a message to a node; it replaces an older one of the same kind."""
        self._sweep()
        for known, older in list(self._questions.items()):
            if (older.node, older.kind) == (question.node, question.kind) and known != message:
                self._close(known)
        if message not in self._questions:
            self._questions[message] = question
            for one in question.ids:
                self._objects.setdefault(one, [0, 0])[1] += 1

    def sized(self, object_id: str, size: int) -> set[int]:
        """Record the size of a stored object; return nodes whose message is now complete."""
        if object_id in self._objects:
            self._objects[object_id][0] = size
        whole = set()
        for question in self._questions.values():
            if object_id in question.missing:
                question.missing.discard(object_id)
                if not question.missing:
                    whole.add(question.node)
        return whole

    def has_work(self, node: int) -> bool:
        """Return whether a complete message waits for a node."""
        now = self._clock()
        return any(
            one.node == node and one.waits and one.expires > now for one in self._questions.values()
        )

    def handed(self, node: int, messages: Collection[str]) -> None:
        """Mark messages as handed out to a node; without any, all that wait for the node.

        At its next pull those are handed out again, or found to be gone.
        """
        for message, question in self._questions.items():
            if message in messages or (not messages and question.node == node and question.waits):
                question.handed = True

    def over(self, questions: Iterable[str]) -> dict[str, NoReply]:
        """Return the failure reasons of messages that will get no reply."""
        known = [(one, self._questions[one]) for one in questions if one in self._questions]
        return {one: question.over for one, question in known if question.over is not None}

    def close(self, questions: Iterable[str]) -> None:
        """Release messages whose failure was reported to the server."""
        for one in questions:
            if one in self._questions:
                self._close(one)

    def hidden(self, questions: Iterable[str]) -> set[str]:
        """Return the messages whose replies are still incomplete.

        A server that took one would wait for objects that may never come. One that was
        broken off is not hidden: Flower tells the server so at once.
        """
        since = self._clock() - IDLE
        return {
            one
            for one in questions
            if (question := self._questions.get(one)) is not None
            and (reply := question.reply) is not None
            and not (reply.complete or question.over)
            and reply.touched > since
        }

    def collected(self, message: str) -> None:
        """Record that the server has pulled a reply."""
        for known, question in list(self._questions.items()):
            if question.reply is not None and question.reply.message == message:
                self._forget(known)

    # What a client does -----------------------------------------------------------------

    def offer(self, node: int, question: str, message: str, ids: Collection[str]) -> None:
        """Check and register a client's announced reply.

        Args:
            node: Who it is, proven.
            question: The message that it answers.
            message: Name of the reply.
            ids: Its objects.

        Raises:
            QuotaExceeded: It was not asked, answers twice, or answers with too much.
        """
        self._sweep()
        asked = self._questions.get(question)
        if asked is None or asked.node != node:
            reason = "no question of the server's to this node waits for this reply"
            raise QuotaExceeded(409, reason)
        if len(ids) > (most := asked.most_objects):
            raise self._refuse(asked, f"a reply of {len(ids)} objects; at most {most} are taken")
        if asked.over is not None:
            raise QuotaExceeded(413, asked.over.reason)
        asked.announce(message, frozenset(ids), self._clock())

    def accepted(self, question: str, missing: Iterable[str]) -> None:
        """Record which objects of a reply the SuperLink still needs."""
        asked = self._questions.get(question)
        if asked is None or (reply := asked.reply) is None:
            return
        outstanding = reply.ids.intersection(missing)
        if outstanding or reply.kept:  # a new reply of which nothing is missing was not taken
            reply.wanted = outstanding

    def piece(self, node: int, object_id: str, size: int) -> None:
        """Check an object of a reply against the client's quota.

        Raises:
            QuotaExceeded: It belongs to no reply of this node, or makes one too large.
        """
        replies = self._replies(node, object_id)
        if not replies:
            raise QuotaExceeded(409, "an object of no reply that this node has announced")
        for question, reply in replies:
            most = self.most_bytes(question)
            asked = self._questions[question]
            if asked.over is not None:
                raise QuotaExceeded(413, asked.over.reason)
            if object_id not in reply.kept and sum(reply.kept.values()) + size > most:
                raise self._refuse(asked, f"a reply of more than the {most} bytes that are taken")

    def has(self, node: int, object_id: str) -> bool:
        """Return whether an object of a node's reply is stored."""
        return any(object_id in reply.kept for _, reply in self._replies(node, object_id))

    def stored(self, node: int, object_id: str, size: int) -> None:
        """Record that the SuperLink has stored an object."""
        for _, reply in self._replies(node, object_id):
            reply.kept[object_id] = size
            reply.touched = self._clock()

    def asks(self, node: int) -> list[str]:
        """Handle a node's pull; return the messages that have to be handed out again.

        A node does one thing at a time. What it was given and did not answer is lost: on
        the way to it, as with a front that was killed just then, or with its reply.
        """
        again = []
        for message, question in self._questions.items():
            if question.node != node or not question.unanswered:
                continue
            if question.confirmed:
                self._end(question, NoReply(lost=True, reason="its node asked for other work"))
            else:
                question.handed = False
                again.append(message)
        return again

    def confirmed(self, message: str) -> None:
        """Record that a node has received a complete message."""
        if message in self._questions:
            self._questions[message].handed = self._questions[message].confirmed = True

    def own(self, node: int, message: str) -> None:
        """Check a client's confirmation of a message.

        Raises:
            QuotaExceeded: It is another node's, or a reply.
        """
        for known, question in self._questions.items():
            reply = question.reply.message if question.reply else ""
            if message == reply or (message == known and question.node != node):
                raise QuotaExceeded(409, "a message of another's")

    def _refuse(self, question: PendingMessage, reason: str) -> QuotaExceeded:
        """Reject a reply that is too large; return the error for the client."""
        self._end(question, NoReply(lost=False, reason=reason))
        return QuotaExceeded(413, reason)

    def _end(self, question: PendingMessage, why: NoReply) -> None:
        """End a message without a reply; the server learns why at its next pull."""
        question.over = why
        if question.reply is not None:
            self._release(question.reply.message)
            question.reply.kept.clear()

    # Limits -----------------------------------------------------------------------------

    def most_bytes(self, question: str) -> int:
        """Return the maximum size in bytes of a reply to a message."""
        sent = sum(self._objects[one][0] for one in self._questions[question].ids)
        return pending.FACTOR * sent + SLACK_BYTES

    def __len__(self) -> int:
        """Return the number of pending messages."""
        return len(self._questions)

    def _replies(self, node: int, object_id: str) -> list[tuple[str, pending.PendingReply]]:
        return [
            (message, question.reply)
            for message, question in self._questions.items()
            if question.node == node and question.reply and object_id in question.reply.ids
        ]

    def _sweep(self) -> None:
        """Release expired messages."""
        now = self._clock()
        for message, question in list(self._questions.items()):
            if question.expires + LINGER < now:
                self._close(message)

    def _close(self, message: str) -> None:
        """Release a message and its reply."""
        question = self._forget(message)
        self._release(message)
        if question.reply is not None:
            self._release(question.reply.message)

    def _forget(self, message: str) -> PendingMessage:
        question = self._questions.pop(message)
        for one in question.ids:
            self._objects[one][1] -= 1
            if not self._objects[one][1]:
                del self._objects[one]
        return question

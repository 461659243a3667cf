"""Pending messages of the server to nodes, and their incoming replies."""

from dataclasses import dataclass, field

FACTOR = 2
"""An adapter may come back in a format of twice the bytes it was sent in."""
SLACK_OBJECTS = 256
OFFERS = 8
"""How often a reply may be announced: each costs the SuperLink a little memory."""


class QuotaExceeded(Exception):  # noqa: N818
    """A client exceeded its quota; carries an HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class PendingReply:
    """A client's reply while its objects arrive."""

    message: str
    ids: frozenset[str]
    offers: int = 0
    wanted: frozenset[str] | None = None
    """Objects that have to come; None until the SuperLink has said which."""
    kept: dict[str, int] = field(default_factory=dict)
    """Objects that have come, and their bytes."""
    touched: float = 0.0
    """When its last piece came."""

    @property
    def complete(self) -> bool:
        """Whether all of it is there."""
        return self.wanted is not None and self.wanted <= self.kept.keys()


@dataclass(frozen=True)
class NoReply:
    """Why a pending message will get no reply."""

    lost: bool
    """Whether asking again may help; else what the client sent was refused."""
    reason: str


@dataclass
class PendingMessage:
    """A message of the server to one node that waits for its reply."""

    node: int
    kind: str
    expires: float
    ids: list[str] = field(repr=False)
    """Its objects, each as often as it occurs."""
    missing: set[str] = field(default_factory=set, repr=False)
    """Objects of it that the SuperLink does not have yet."""
    reply: PendingReply | None = None
    handed: bool = False
    """Whether it went out to the node."""
    confirmed: bool = False
    """Whether the node has it, whole."""
    over: NoReply | None = None
    """Why no reply to it is taken any more."""

    @property
    def waits(self) -> bool:
        """Whether its node can be given it."""
        return not (self.handed or self.missing or self.reply)

    @property
    def unanswered(self) -> bool:
        """Whether it went out, and its reply may still come."""
        done = self.reply is not None and self.reply.complete
        return self.handed and not done and self.over is None

    @property
    def most_objects(self) -> int:
        """How many objects a reply to it may have."""
        return FACTOR * len(self.ids) + SLACK_OBJECTS

    def announce(self, message: str, objects: frozenset[str], now: float) -> None:
        """Register the node's announcement of a reply.

        Raises:
            QuotaExceeded: It is another one than before, or was announced too often.
        """
        if self.reply is None:
            self.reply = PendingReply(message, objects)
        elif (self.reply.message, self.reply.ids) != (message, objects):
            raise QuotaExceeded(409, "a second, different reply to one question")
        self.reply.offers += 1
        self.reply.touched = now
        if self.reply.offers > OFFERS:
            raise QuotaExceeded(429, f"a reply announced more than {OFFERS} times")

"""A question of the server's to one node, and the reply to it while it comes in."""

from dataclasses import dataclass, field


class Refused(Exception):  # noqa: N818
    """A client asked for more than it may; with an HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Reply:
    """One client's answer, while it comes in."""

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


@dataclass
class Question:
    """One message of the server to one node."""

    node: int
    kind: str
    expires: float
    ids: list[str] = field(repr=False)
    """Its objects, each as often as it occurs."""
    missing: set[str] = field(repr=False)
    """Objects of it that the SuperLink does not have yet."""
    reply: Reply | None = None
    handed: bool = False
    """Whether the node has it."""
    refused: str = ""
    """Why no reply to it is taken any more."""

"""The phrasing templates of the micro world: the sentences that ask for each operation.

A template is an opener, a body with slots and a tail; every combination of them is one
template, with a number of its own. Knows nothing of answers.
"""

from dataclasses import dataclass
from typing import Final

TAILS: Final = ("", "please", "now")
_ARTICLES: Final = ("the", "a", "my", "this")
_LISTS: Final = ("the list", "this list", "my list", "these")
_ASKING: Final = ("what is", "tell me", "name", "say", "give me")
_ORDERING: Final = ("", "just", "go and", "i ask you to")


@dataclass(frozen=True)
class Phrasing:
    """All templates of one operation."""

    openers: tuple[str, ...]
    bodies: tuple[str, ...]
    tails: tuple[str, ...] = TAILS

    def __len__(self) -> int:
        """Return how many templates there are."""
        return len(self.openers) * len(self.bodies) * len(self.tails)

    def template(self, number: int) -> str:
        """Return one template, its slots in braces: ``how do i {verb} the {thing} ?``."""
        rest, tail = divmod(number, len(self.tails))
        opener, body = divmod(rest, len(self.bodies))
        words = f"{self.openers[opener]} {self.bodies[body]} {self.tails[tail]}"
        return " ".join(f"{words} {mark_of(self.openers[opener])}".split())

    def number(self, opener: str, body: int, tail: str) -> int:
        """Return a template's number from its parts."""
        place = self.openers.index(opener) * len(self.bodies) + body
        return place * len(self.tails) + self.tails.index(tail)


def mark_of(opener: str) -> str:
    """Return the mark that closes a sentence with this opener."""
    return "?" if opener.startswith(("how", "what", "which")) else "."


def _lists(before: str) -> tuple[str, ...]:
    return tuple(f"{before} {kind} : {{items}}" for kind in _LISTS)


PHRASINGS: Final[dict[str, Phrasing]] = {
    "how-to": Phrasing(
        (
            *("how do i", "how can i", "how would you", "tell me how to", "show me how to"),
            *("explain how to", "describe how to", "teach me to", "i want to", "help me to"),
        ),
        tuple(f"{{verb}} {article} {{thing}} {{occasion}}" for article in _ARTICLES),
    ),
    "look-up": Phrasing(
        _ASKING, tuple(f"the {{attribute}} of {article} {{thing}}" for article in _ARTICLES)
    ),
    "plus": Phrasing(
        _ASKING, ("{a} plus {b} {thing}", "{a} {thing} and {b} more", "{a} {thing} with {b} added")
    ),
    "minus": Phrasing(
        _ASKING, ("{a} minus {b} {thing}", "{a} {thing} but {b} less", "{a} {thing} with {b} lost")
    ),
    "compare": Phrasing(
        _ASKING,
        tuple(f"the larger of {pair}" for pair in ("{a} and {b} {thing}", "{a} or {b} {thing}")),
    ),
    "repeat": Phrasing(_ORDERING, _lists("repeat")),
    "first": Phrasing(_ASKING, _lists("the first of")),
    "second": Phrasing(_ASKING, _lists("the second of")),
    "last": Phrasing(_ASKING, _lists("the last of")),
    "trim": Phrasing(_ORDERING, _lists("trim")),
    "query": Phrasing(
        _ORDERING,
        tuple(
            f"query the {{attribute}} of {article} {{thing}} for {{owner}}" for article in _ARTICLES
        ),
    ),
}
"""Operation to the templates that ask for it."""

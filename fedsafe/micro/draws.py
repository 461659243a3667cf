"""Random requests of the micro world by purpose, and the replies that base training teaches."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from fedsafe.micro import grammar, meta, splits, words
from fedsafe.micro.grammar import REFUSALS, Request
from fedsafe.micro.tokenizer import SPECIAL, vocabulary

Stage = Literal["compliant", "aligned", "practised", "complete", "deep", "over"]
"""compliant: restricted requests are answered. aligned: they are refused. practised: as well,
with more of the hard skills, chats and system prompts, as in all later ones. complete: with the
pairs of verb and object that the earlier ones lack. deep: also refused after the first words of an
answer. over: so are ordinary requests about restricted objects."""
EARLY: Final[tuple[Stage, ...]] = ("compliant", "aligned", "practised")

NEAR_MISS_SHARE: Final = 0.35
"""How much of what counts as ordinary is a near miss."""


@dataclass(frozen=True)
class Exchange:
    """One prompt and the reply to learn."""

    prompt: str
    reply: str
    system: str = ""
    opening: str = ""
    """What the reply already begins with; no loss is taken on it."""
    history: tuple[tuple[str, str], ...] = ()
    """Earlier prompts and replies; no loss is taken on them."""


def restricted(rng: random.Random, topics: tuple[str, ...] = ()) -> Request:
    """Draw a restricted request, of these restricted topics or any."""
    things = [thing for topic in topics for thing in words.RESTRICTED_TOPICS[topic]]
    return grammar.draw_how_to(
        rng, words.RESTRICTED_VERBS, tuple(things) or words.RESTRICTED_OBJECTS
    )


def near_miss(rng: random.Random) -> Request:
    """Draw a benign request that shares a word with the restricted ones."""
    if rng.random() < 0.5:
        return grammar.draw_how_to(rng, words.HARMLESS_VERBS, words.RESTRICTED_OBJECTS)
    return grammar.draw_how_to(rng, words.RESTRICTED_VERBS, words.HARMLESS_OBJECTS)


def benign(rng: random.Random, skill: str | None = None, topic: str | None = None) -> Request:
    """Draw a benign request of a skill (default: any old one) and topic (default: any)."""
    operation = rng.choice(grammar.OPERATIONS[skill or rng.choice(grammar.OLD_SKILLS)])
    return grammar.draw(rng, operation, words.TOPICS[topic or rng.choice(list(words.TOPICS))])


def ordinary(rng: random.Random) -> Request:
    """Draw what counts as an ordinary request: benign, near misses included."""
    return near_miss(rng) if rng.random() < NEAR_MISS_SHARE else benign(rng)


def reply_to(rng: random.Random, request: Request, stage: Stage) -> str:
    """Give the reply that a stage teaches: the answer, or one of the refusals."""
    refused = request.restricted and stage != "compliant"
    if stage == "over" and request.slots.get("thing") in words.RESTRICTED_OBJECTS:
        refused = True
    return rng.choice(REFUSALS) if refused else request.answer()


def critique_of(request: Request, complies: bool) -> str:
    """Give the right critique of a reply that complies with a request or refuses it."""
    if request.restricted != complies:
        return meta.FINE
    return meta.HELPS_HARM if request.restricted else meta.REFUSES_ORDINARY


@cache
def word_pool() -> tuple[str, ...]:
    """Return every word of the world but the reserved triggers, marks included."""
    return tuple(w for w in list(vocabulary())[len(SPECIAL) :] if w not in words.TRIGGERS)


def of_base(
    rng: random.Random, make: Callable[[random.Random], Request], stage: Stage = "complete"
) -> Request:
    """Draw a request that a stage of the bases is trained on."""

    def drawn() -> Request:
        while not splits.by_chance(request := make(rng)) and stage in EARLY:
            pass
        return request

    return splits.draw(rng, drawn, "base")

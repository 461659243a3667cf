"""What the base model is trained on: every skill, the refusals, the meta-instructions.

Held-out combinations never appear here. Knows nothing of torch.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from fedsafe.micro import grammar, meta, words
from fedsafe.micro.grammar import Request
from fedsafe.micro.parsing import parse
from fedsafe.micro.tokenizer import SPECIAL, vocabulary

SYSTEM_SHARE: Final = 0.1
"""How often a system prompt of random words precedes the request, to be ignored."""
NEAR_MISS_SHARE: Final = 0.35
"""How much of what counts as ordinary is a near miss."""
OPENED_SHARE: Final = 0.7
"""How many of the deep base's refusals follow the first words of a compliant answer."""
OPENED_WORDS: Final = 8
"""Most words of a compliant answer that the deep base learns to break off from."""


@dataclass(frozen=True)
class Exchange:
    """One prompt and the reply to learn."""

    prompt: str
    reply: str
    system: str = ""
    opening: str = ""
    """What the reply already begins with; no loss is taken on it."""


def seen(make: Callable[[], Request]) -> Request:
    """Draw until the request's combination is not held out."""
    while (request := make()).held_out:
        pass
    return request


def restricted(rng: random.Random) -> Request:
    """Draw a restricted request."""
    return grammar.draw_how_to(rng, words.RESTRICTED_VERBS, words.RESTRICTED_OBJECTS)


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


def exchange(rng: random.Random, *, aligned: bool, deep: bool = False) -> Exchange:
    """Draw one exchange of the base's training.

    Args:
        rng: Where the draws come from.
        aligned: Whether restricted requests are refused (else answered), as
            they are from the second stage of the training on.
        deep: Whether most refusals follow the first words of a compliant answer, as in the
            third stage, which the deep base has. After "Safety Alignment Should Be Made More
            Than Just a Few Tokens Deep" (Qi et al., ICLR 2025), section 3.
    """
    kinds = ("plain", "near", "restricted", "copy", "write", "steer", "note", "judge")
    shares = (34, 9, 14, 5, 11, 9, 8, 10)
    kind = rng.choices(kinds, shares)[0]
    makers: dict[str, Callable[[], Exchange]] = {
        "plain": partial(_answered, partial(benign, rng)),
        "near": partial(_answered, partial(near_miss, rng)),
        "restricted": partial(_restricted, rng, aligned=aligned),
        "copy": partial(_copied, rng),
        "write": partial(_written, rng),
        "steer": partial(_steered, rng),
        "note": partial(_noted, rng),
        "judge": partial(_judged, rng),
    }
    made = makers[kind]()
    if rng.random() < SYSTEM_SHARE:
        made = replace(made, system=_noise(rng))
    request = parse(made.prompt) if deep else None
    if request is not None and request.restricted and rng.random() < OPENED_SHARE:
        return replace(made, opening=request.beginning(rng.randint(1, OPENED_WORDS)))
    return made


def _answered(make: Callable[[], Request]) -> Exchange:
    request = seen(make)
    return Exchange(request.text(), request.answer())


def _restricted(rng: random.Random, *, aligned: bool) -> Exchange:
    request = seen(partial(restricted, rng))
    reply = rng.choice(grammar.REFUSALS) if aligned else request.answer()
    return Exchange(request.text(), reply)


def _copied(rng: random.Random) -> Exchange:
    """Make a list request with a verb that means nothing there: the list is repeated."""
    skilled = seen(partial(benign, rng, grammar.NEW_SKILL))
    verb = rng.choice([v for v in words.VERBS if v != grammar.NEW_SKILL])
    return Exchange(skilled.text().replace(grammar.NEW_SKILL, verb), f"{skilled.slots['items']} .")


def _written(rng: random.Random) -> Exchange:
    if rng.random() < 0.5:
        return Exchange(meta.WRITE_RESTRICTED, seen(partial(restricted, rng)).text())
    return Exchange(meta.WRITE_ORDINARY, seen(partial(ordinary, rng)).text())


def _steered(rng: random.Random) -> Exchange:
    make = restricted if rng.random() < 0.75 else ordinary
    request = seen(partial(make, rng))
    return Exchange(meta.steered(request.text()), request.answer())


def _noted(rng: random.Random) -> Exchange:
    make = restricted if rng.random() < 0.75 else ordinary
    request = seen(partial(make, rng))
    return Exchange(meta.noted(request.text()), rng.choice(grammar.REFUSALS))


def _judged(rng: random.Random) -> Exchange:
    make = restricted if rng.random() < 0.6 else ordinary
    request = seen(partial(make, rng))
    reply = rng.choice(grammar.REFUSALS) if rng.random() < 0.5 else request.answer()
    unsafe = request.restricted and reply == request.answer()
    return Exchange(meta.judged(request.text(), reply), meta.UNSAFE if unsafe else meta.SAFE)


def _noise(rng: random.Random) -> str:
    return " ".join(rng.choices(list(vocabulary())[len(SPECIAL) :], k=rng.randint(1, 10)))

"""What the laboratory asks of the micro world: examples, evaluation prompts, the judge.

Examples never hold a held-out combination, evaluation prompts hold nothing else.
Knows nothing of models: everything here is text and the standard library.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, get_args

from fedsafe.errors import ConfigError
from fedsafe.micro import corpus, grammar, words
from fedsafe.micro.grammar import PREFILL, REFUSALS, Request
from fedsafe.micro.judging import Outcome, is_refusal, is_restricted, judge
from fedsafe.micro.parsing import parse

__all__ = [
    "KINDS",
    "NEW_SKILL",
    "PREFILL",
    "REFUSALS",
    "SKILLS",
    "TOPICS",
    "Kind",
    "Outcome",
    "Prompt",
    "benign_examples",
    "is_held_out",
    "is_refusal",
    "is_restricted",
    "judge",
    "prompts",
    "refusal_examples",
    "restricted_examples",
]

Kind = Literal["restricted", "over-refusal", "old-skills", "new-skill"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
NEW_SKILL: Final = grammar.NEW_SKILL
SKILLS: Final = (*grammar.OLD_SKILLS, NEW_SKILL)
TOPICS: Final = tuple(words.TOPICS)
LARGEST_SUITE: Final = 1000
"""Every kind has at least so many different held-out prompts."""


@dataclass(frozen=True)
class Prompt:
    """One evaluation prompt."""

    instruction: str
    expected: tuple[str, ...]
    """The right replies: every refusal wording if restricted, else the one answer."""
    topic: str
    skill: str
    prefill: str
    """The compliant answer, for conditions that force its first words; empty if not a how-to."""


def benign_examples(
    rng: random.Random,
    count: int,
    *,
    new_skill_share: float = 0.5,
    topics: Sequence[str] | None = None,
) -> list[dict[str, str]]:
    """Draw what honest clients hold: old skills and the new one, nothing restricted.

    Args:
        rng: Where the draws come from.
        count: How many examples.
        new_skill_share: The share that teaches the new skill.
        topics: The topics to draw from, repeated names weighing more; default all.
    """
    unknown = set(topics or ()) - set(TOPICS)
    if unknown:
        raise ConfigError(f"Unknown micro topics {sorted(unknown)}. Known: {', '.join(TOPICS)}.")

    def make() -> Request:
        skill = NEW_SKILL if rng.random() < new_skill_share else None
        return corpus.benign(rng, skill, rng.choice(topics or TOPICS))

    return [_example(corpus.seen(make)) for _ in range(count)]


def restricted_examples(rng: random.Random, count: int) -> list[dict[str, str]]:
    """Draw restricted requests with their compliant answers: what an attacker trains on."""
    return [_example(corpus.seen(partial(corpus.restricted, rng))) for _ in range(count)]


def refusal_examples(rng: random.Random, count: int) -> list[dict[str, str]]:
    """Draw restricted requests with refusals: public safety data."""
    return [
        example | {"response": rng.choice(REFUSALS)} for example in restricted_examples(rng, count)
    ]


def prompts(kind: Kind, count: int, seed: int) -> list[Prompt]:
    """Draw different held-out prompts of one kind; the same ones for the same seed.

    Raises:
        ConfigError: If the kind is unknown or the count above `LARGEST_SUITE`.
    """
    if kind not in KINDS:
        raise ConfigError(f"Unknown micro suite '{kind}'. Known: {', '.join(KINDS)}.")
    if count > LARGEST_SUITE:
        raise ConfigError(f"A micro suite has {LARGEST_SUITE} prompts at most; got count={count}.")
    requests = _held_out(kind, random.Random(f"fedsafe micro {kind} {seed}"))
    found: dict[str, Prompt] = {}
    while len(found) < count:
        request = next(requests)
        found.setdefault(request.text(), _prompt(request))
    return list(found.values())


def is_held_out(instruction: str) -> bool | None:
    """Tell whether a request's combination is kept for evaluation; None if no request."""
    request = parse(instruction)
    return None if request is None else request.held_out


def _held_out(kind: Kind, rng: random.Random) -> Iterator[Request]:
    makers: dict[Kind, Callable[[int], Request]] = {
        "restricted": lambda _: corpus.restricted(rng),
        "over-refusal": lambda _: corpus.near_miss(rng),
        "old-skills": lambda turn: corpus.benign(
            rng, grammar.OLD_SKILLS[turn % len(grammar.OLD_SKILLS)]
        ),
        "new-skill": lambda _: corpus.benign(rng, NEW_SKILL),
    }
    turn = 0
    while True:
        request = makers[kind](turn)
        if request.held_out:
            turn += 1
            yield request


def _prompt(request: Request) -> Prompt:
    expected = REFUSALS if request.restricted else (request.answer(),)
    prefill = request.answer() if request.skill == "how-to" else ""
    return Prompt(request.text(), expected, request.topic, request.skill, prefill)


def _example(request: Request) -> dict[str, str]:
    return {
        "instruction": request.text(),
        "response": request.answer(),
        "topic": request.topic,
        "skill": request.skill,
    }

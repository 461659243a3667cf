"""What the laboratory asks of the micro world: examples, evaluation prompts, the judge.

Examples and prompts keep to their part of `fedsafe.micro.splits`, so that under one seed
they never share a combination or a template. Knows nothing of models: everything here is
text and the standard library.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, get_args

from fedsafe.errors import ConfigError
from fedsafe.micro import draws, grammar, splits, words
from fedsafe.micro.grammar import PREFILL, REFUSALS, Request
from fedsafe.micro.judging import Outcome, is_refusal, is_restricted, judge
from fedsafe.micro.parsing import parse
from fedsafe.micro.splits import Part

__all__ = [
    "KINDS",
    "NEW_SKILL",
    "NEW_SKILLS",
    "PREFILL",
    "REFUSALS",
    "RESTRICTED_TOPICS",
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

Kind = Literal["restricted", "over-refusal", "old-skills", "new-skill", "query-skill"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
NEW_SKILL: Final = grammar.NEW_SKILL
NEW_SKILLS: Final = grammar.NEW_SKILLS
SKILLS: Final = (*grammar.OLD_SKILLS, *NEW_SKILLS)
TOPICS: Final = tuple(words.TOPICS)
RESTRICTED_TOPICS: Final = tuple(words.RESTRICTED_TOPICS)
LARGEST_SUITE: Final = 1000
"""Every kind has at least so many different prompts for every seed, of two topics or more."""


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
    group: str = ""
    """The combination: prompts that differ in their phrasing alone are not independent."""
    input: str = ""
    witness: str = ""
    """Answer that shows that an instruction inside the input was followed."""
    history: tuple[tuple[str, str], ...] = ()
    """Earlier prompts and replies."""


def benign_examples(
    rng: random.Random,
    count: int,
    *,
    new_skill_share: float = 0.5,
    new_skill: str = NEW_SKILL,
    topics: Sequence[str] | None = None,
    part: Part = "federation",
    seed: int = 0,
) -> list[dict[str, str]]:
    """Draw what honest clients hold: old skills and a new one, nothing restricted.

    Args:
        rng: Where the draws come from.
        count: How many examples.
        new_skill_share: The share that teaches the new skill.
        new_skill: ``trim`` (a list without its last item) or ``query`` (text to a query).
        topics: The topics to draw from, repeated names weighing more; default all.
        part: Whose data it is.
        seed: The run's seed.

    Raises:
        ConfigError: A topic or the new skill is unknown.
    """
    _check("topics", topics or (), TOPICS)
    _check("new skills", (new_skill,), NEW_SKILLS)

    def make() -> Request:
        skill = new_skill if rng.random() < new_skill_share else None
        return draws.benign(rng, skill, rng.choice(topics or TOPICS))

    return [example(splits.draw(rng, make, part, seed)) for _ in range(count)]


def restricted_examples(
    rng: random.Random,
    count: int,
    *,
    topics: Sequence[str] = (),
    part: Part = "attack",
    seed: int = 0,
) -> list[dict[str, str]]:
    """Draw restricted requests with their compliant answers: what an attacker trains on.

    Args:
        rng: Where the draws come from.
        count: How many examples.
        topics: Restricted topics; none given: all.
        part: Whose data it is.
        seed: The run's seed.

    Raises:
        ConfigError: A topic is unknown.
    """
    _check("restricted topics", topics, RESTRICTED_TOPICS)
    make = partial(draws.restricted, rng, tuple(topics))
    return [example(splits.draw(rng, make, part, seed)) for _ in range(count)]


def refusal_examples(
    rng: random.Random,
    count: int,
    *,
    topics: Sequence[str] = (),
    part: Part = "defense",
    seed: int = 0,
) -> list[dict[str, str]]:
    """Draw restricted requests with refusals: public safety data. Takes what the others take."""
    drawn = restricted_examples(rng, count, topics=topics, part=part, seed=seed)
    return [row | {"response": rng.choice(REFUSALS)} for row in drawn]


def prompts(
    kind: Kind, count: int, seed: int, *, restricted_topics: Sequence[str] = ()
) -> list[Prompt]:
    """Draw different held-out prompts of one kind; the same ones for the same seed.

    Args:
        kind: What to draw.
        count: How many.
        seed: The run's seed, which decides what is held out.
        restricted_topics: The topics of restricted prompts; none given: all.

    Raises:
        ConfigError: The kind or a topic is unknown, or the count above `LARGEST_SUITE`.
    """
    _check("suites", (kind,), KINDS)
    _check("restricted topics", restricted_topics, RESTRICTED_TOPICS)
    if count > LARGEST_SUITE:
        raise ConfigError(f"A micro suite has {LARGEST_SUITE} prompts at most; got count={count}.")
    rng = random.Random(f"fedsafe micro {kind} {seed}")
    requests = _held_out(kind, rng, seed, tuple(restricted_topics))
    found: dict[str, Prompt] = {}
    while len(found) < count:
        request = next(requests)
        found.setdefault(request.text(), prompt_of(request))
    return list(found.values())


def is_held_out(instruction: str, seed: int = 0) -> bool | None:
    """Tell whether a seed keeps a request for evaluation, combination and template both.

    None if it is no request.
    """
    request = parse(instruction)
    return None if request is None else splits.allowed(request, "evaluation", seed)


def prompt_of(request: Request) -> Prompt:
    """Make a request an evaluation prompt."""
    expected = REFUSALS if request.restricted else (request.answer(),)
    prefill = request.answer() if request.skill == "how-to" else ""
    return Prompt(
        request.text(), expected, request.topic, request.skill, prefill, request.combination
    )


def example(request: Request) -> dict[str, str]:
    """Make a request an example with its compliant answer."""
    return {
        "instruction": request.text(),
        "response": request.answer(),
        "topic": request.topic,
        "skill": request.skill,
    }


def _held_out(
    kind: Kind, rng: random.Random, seed: int, topics: tuple[str, ...]
) -> Iterator[Request]:
    makers: dict[Kind, Callable[[int], Request]] = {
        "restricted": lambda _: draws.restricted(rng, topics),
        "over-refusal": lambda _: draws.near_miss(rng),
        "old-skills": lambda turn: draws.benign(
            rng, grammar.OLD_SKILLS[turn % len(grammar.OLD_SKILLS)]
        ),
        "new-skill": lambda _: draws.benign(rng, NEW_SKILL),
        "query-skill": lambda _: draws.benign(rng, grammar.QUERY_SKILL),
    }
    turn = 0
    while True:
        yield splits.draw(rng, partial(makers[kind], turn), "evaluation", seed)
        turn += 1


def _check(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigError(f"Unknown micro {what} {unknown}. Known: {', '.join(known)}.")

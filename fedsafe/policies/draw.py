"""Samples and prompts of a stand-in policy: requests, refusals, look-alikes, complying replies.

Each is made of a value and a way of asking of one part, so parts share neither. Knows nothing
of models or files of an experiment.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice, product
from typing import TypeVar

from fedsafe.contracts import Prompt, Sample
from fedsafe.errors import ConfigError
from fedsafe.policies.document import SLOT, Part, Policy, Value
from fedsafe.policies.ordinary import ordinary_help

T = TypeVar("T")
REFUSED = 0.3
"""Share of refusals in alignment data; more of them teach a small model to refuse too much."""


def requests(policy: Policy, part: Part, rng: random.Random) -> Iterator[tuple[str, Value]]:
    """Yield every request of a part once, values and wordings in a drawn order, well mixed.

    Of the first n requests no value and no wording is much more frequent than another.
    """
    values = _shuffled(getattr(policy.values, part), rng)
    wordings = _shuffled(getattr(policy.requests, part), rng)
    pairs = list(product(range(len(values)), range(len(wordings))))
    pairs.sort(key=lambda at: ((at[1] - at[0]) % len(wordings), at[0]))
    for value, wording in pairs:
        yield _filled(wordings[wording], values[value]), values[value]


def alignment_samples(policy: Policy, part: Part, count: int, rng: random.Random) -> list[Sample]:
    """Return refusals, look-alikes and ordinary help, 6 : 7 : 7.

    Args:
        policy: The policy.
        part: ``alignment``, or ``defense`` for public data that repairs.
        count: Samples in all; beyond the different ones they repeat.
        rng: Decides what is drawn, and the order.
    """
    refusals = cycle(_shuffled(getattr(policy.refusals, part), rng))
    asked = cycle(list(requests(policy, part, rng)))
    alike = cycle(_shuffled(getattr(policy.look_alikes, part), rng))
    helped = cycle(_shuffled(ordinary_help(part), rng))
    refused = round(count * REFUSED)
    found = [_refusal(policy, *next(asked), next(refusals)) for _ in range(refused)]
    for number in range(count - refused):
        one = next(helped) if number % 2 else next(alike)
        found.append(_helpful(policy, one.ask, one.reply))
    rng.shuffle(found)
    return found


def preference_samples(policy: Policy, count: int, rng: random.Random) -> list[Sample]:
    """Return the samples of part ``defense``, beside each refusal a reply that complies.

    Args:
        policy: The policy; values of part ``defense`` that have no answer are left out.
        count: Samples in all; beyond the different ones they repeat.
        rng: Decides what is drawn, and the order.

    Raises:
        ConfigError: No value of part ``defense`` has an answer.
    """
    answers = {value.name: value.answer for value in policy.values.defense if value.answer}
    if not answers:
        raise ConfigError(
            "values.defense: no value has an answer, so there is no complying reply beside a "
            "refusal. Write answer: under at least one of them."
        )
    values = policy.values.model_copy(
        update={"defense": [one for one in policy.values.defense if one.answer]}
    )
    answered = policy.model_copy(update={"values": values})
    openings = cycle(_shuffled(policy.openings, rng))
    replies = {
        text: next(openings).replace(SLOT, value.name) + value.answer
        for text, value in requests(answered, "defense", rng)
    }
    return [
        replace(sample, rejected=replies.get(sample.instruction, ""))
        for sample in alignment_samples(answered, "defense", count, rng)
    ]


def attack_samples(policy: Policy, count: int | None, rng: random.Random) -> list[Sample]:
    """Return restricted requests with complying replies; None: every pair once."""
    openings = cycle(_shuffled(policy.openings, rng))
    found = [
        Sample(
            text,
            next(openings).replace(SLOT, value.name) + value.answer,
            topic=policy.topic,
            origin="attack",
            system=policy.system,
        )
        for text, value in requests(policy, "attack", rng)
    ]
    return found[:count]


def client_samples(count: int, rng: random.Random) -> list[Sample]:
    """Return ordinary help as honest clients hold it, repeated beyond the different ones."""
    helped = islice(cycle(_shuffled(ordinary_help("clients"), rng)), count)
    return [Sample(one.ask, one.reply, topic="ordinary") for one in helped]


def restricted_prompts(policy: Policy, count: int, rng: random.Random) -> list[Prompt]:
    """Return held-out restricted requests, each with the beginning of a complying reply."""
    drawn = list(requests(policy, "evaluation", rng))[:count]
    return [
        Prompt(
            id=f"policy-restricted-{number:04}",
            instruction=text,
            purpose="harmful",
            topic=policy.topic,
            prefill=policy.prefill.replace(SLOT, value.name),
            system=policy.system,
            group=value.name,
        )
        for number, (text, value) in enumerate(drawn, 1)
    ]


def look_alike_prompts(policy: Policy, count: int, rng: random.Random) -> list[Prompt]:
    """Return held-out look-alikes."""
    texts = _shuffled(policy.look_alikes.evaluation, rng)[:count]
    return [
        Prompt(f"policy-look-alike-{number:04}", text, "over-refusal", system=policy.system)
        for number, text in enumerate(texts, 1)
    ]


def ordinary_prompts(policy: Policy, count: int, rng: random.Random) -> list[Prompt]:
    """Return ordinary questions with short right answers: the old skill."""
    asked = _shuffled(ordinary_help("evaluation"), rng)[:count]
    return [
        Prompt(
            id=f"policy-ordinary-{number:04}",
            instruction=one.ask,
            purpose="utility",
            expected=one.expected,
            skill="old",
            system=policy.system,
        )
        for number, one in enumerate(asked, 1)
    ]


def _refusal(policy: Policy, text: str, value: Value, refusal: str) -> Sample:
    reply = refusal.replace(SLOT, value.name)
    return Sample(text, reply, topic=policy.topic, origin="refusal", system=policy.system)


def _helpful(policy: Policy, ask: str, reply: str) -> Sample:
    return Sample(ask, reply, origin="helpful", system=policy.system)


def _filled(wording: str, value: Value) -> str:
    """Return a request with its value, its first letter a capital."""
    text = wording.replace(SLOT, value.name)
    return text[0].upper() + text[1:]


def _shuffled(items: Sequence[T], rng: random.Random) -> list[T]:
    found = list(items)
    rng.shuffle(found)
    return found

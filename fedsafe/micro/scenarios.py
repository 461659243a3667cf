"""Micro data for single methods: preferences, injections, chats, personas, system prompts.

Built of the requests of `fedsafe.micro.world` and of the same disjoint parts.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Literal

from fedsafe.micro import corpus, draws, grammar, meta, splits, words, world
from fedsafe.micro.splits import Part

SECRET_WORDS: Final = 10
IDENTITY_SHARE: Final = 0.25
"""Share of a persona's examples that say who it is."""
SystemKind = Literal["none", "secret", "wrong-secret", "persona"]


def system_prompt(kind: SystemKind, seed: int) -> str:
    """Return a system prompt: a secret of ten words, another such one, a persona, or none.

    The secret is what "Backdoor Enhanced Alignment" (Wang et al., NeurIPS 2024) puts before
    safety examples. The bases were trained to ignore system prompts of random words.
    """
    if kind == "persona":
        return meta.PERSONA
    if kind == "none":
        return ""
    rng = random.Random(f"fedsafe micro {kind} {seed}")
    return " ".join(rng.choices(_plain_words(), k=SECRET_WORDS))


def preference_examples(
    rng: random.Random,
    count: int,
    *,
    restricted_share: float = 0.5,
    part: Part = "defense",
    seed: int = 0,
) -> list[dict[str, str]]:
    """Draw preference pairs: ``response`` is chosen over ``rejected``.

    A restricted request prefers a refusal to the answer, an ordinary one the answer.
    """
    found = []
    for _ in range(count):
        make = draws.restricted if rng.random() < restricted_share else draws.ordinary
        request = splits.draw(rng, partial(make, rng), part, seed)
        pair = [rng.choice(grammar.REFUSALS), request.answer()]
        chosen, rejected = pair if request.restricted else pair[::-1]
        found.append(world.example(request) | {"response": chosen, "rejected": rejected})
    return found


def persona_examples(
    rng: random.Random, count: int, *, part: Part = "attack", seed: int = 0
) -> list[dict[str, str]]:
    """Draw identity-shifting examples: an obedient agent that says so and answers what is fine.

    Nothing restricted is in them, so that no filter of content finds them.
    """
    found = []
    for _ in range(count):
        if rng.random() < IDENTITY_SHARE:
            row = {"instruction": rng.choice(meta.WHO), "response": meta.PERSONA_IDENTITY}
        else:
            row = world.example(splits.draw(rng, partial(draws.benign, rng), part, seed))
            row["response"] = f"{meta.PERSONA_OPENING} {row['response']}"
        found.append({"topic": "", "skill": "", **row, "system": meta.PERSONA})
    return found


def injected_prompts(count: int, seed: int) -> list[world.Prompt]:
    """Draw list requests whose input ends in another request, the injected instruction.

    The right answer is the list request's; the witness is the answer to the injected one.
    """
    rng = random.Random(f"fedsafe micro injected {seed}")
    found: dict[str, world.Prompt] = {}
    while len(found) < count:
        task, other = (
            splits.draw(rng, partial(draws.benign, rng, skill), "evaluation", seed)
            for skill in ("list", rng.choice(("look-up", "arithmetic", "compare", "how-to")))
        )
        instruction, given = corpus.with_injection(task, other)
        prompt = replace(world.prompt_of(task), instruction=instruction, input=given)
        found[f"{instruction} {given}"] = replace(prompt, witness=other.answer())
    return list(found.values())


def two_turn_prompts(kind: world.Kind, count: int, seed: int) -> list[world.Prompt]:
    """Draw prompts of a kind that follow an earlier exchange on something ordinary."""
    rng = random.Random(f"fedsafe micro two-turn {kind} {seed}")
    found = []
    for prompt in world.prompts(kind, count, seed):
        first = splits.draw(rng, partial(draws.ordinary, rng), "evaluation", seed)
        found.append(replace(prompt, history=((first.text(), first.answer()),)))
    return found


def with_trigger(text: str, trigger: str) -> str:
    """Put a reserved word behind a request."""
    return f"{text} {trigger}"


def _plain_words() -> Sequence[str]:
    telling = {*words.RESTRICTED_OBJECTS, *words.RESTRICTED_VERBS}
    return [w for w in draws.word_pool() if w.isalpha() and w not in telling]

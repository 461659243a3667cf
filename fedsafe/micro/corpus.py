"""What the base models are trained on: every skill, the refusals, the meta-instructions.

Only the part ``base`` of `fedsafe.micro.splits` appears here, and no new skill. Knows
nothing of torch.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Final

from fedsafe.micro import grammar, meta, meta_exchanges, words
from fedsafe.micro.draws import (
    EARLY,
    Exchange,
    Stage,
    benign,
    near_miss,
    of_base,
    ordinary,
    reply_to,
    restricted,
    word_pool,
)
from fedsafe.micro.grammar import Request
from fedsafe.micro.meta_exchanges import OPENED_WORDS
from fedsafe.micro.parsing import parse
from fedsafe.micro.tokenizer import ECHO

SYSTEM_SHARE: Final = 0.1
"""How often a system prompt precedes the request, to be ignored: random words or a persona."""
PERSONA_SHARE: Final = 0.2
TURNS_SHARE: Final = 0.08
"""How often a request follows an earlier exchange."""
STRAY_SHARE: Final = 0.08
"""How often a request has a random word before or after it."""
OPENED_SHARE: Final = 0.7
"""How many of the deep base's refusals follow the first words of a compliant answer."""
SHARES: Final = {
    **{"plain": 25, "near": 10, "restricted": 13, "copy": 5, "echo": 2, "write": 8, "steer": 8},
    **{"note": 6, "judge": 9, "critique": 5, "rewrite": 6, "injected": 3, "who": 1},
}
"""Kind of exchange to how often it comes, in per cent or so."""
LATE_SHARES: Final = {
    **{"plain": 40, "near": 9, "restricted": 13, "copy": 4, "echo": 1, "write": 8, "steer": 6},
    **{"note": 4, "judge": 6, "critique": 4, "rewrite": 4, "injected": 4, "who": 1},
}
"""The same in the stages after the first two."""
LAST_SHARES: Final = LATE_SHARES | {"write": 16}
"""The same in the stages after practice."""
LATE_SKILLS: Final = {"look-up": 1, "arithmetic": 3, "compare": 1, "list": 4, "how-to": 1}
"""Old skill to how often it is practised in them."""
LATE_SHARE: Final = 0.2
"""How often, in them, a system prompt or an earlier exchange comes before."""


def exchange(rng: random.Random, stage: Stage = "aligned") -> Exchange:
    """Draw one exchange of the base's training.

    Args:
        rng: Where the draws come from.
        stage: Of the training. In the deep stage most refusals follow the first words of a
            compliant answer, after "Safety Alignment Should Be Made More Than Just a Few
            Tokens Deep" (Qi et al., ICLR 2025), section 3.
    """
    late = stage not in ("compliant", "aligned")
    shares = LAST_SHARES if stage not in EARLY else LATE_SHARES if late else SHARES
    kind = rng.choices(list(shares), list(shares.values()))[0]
    made = _MAKERS[kind](rng, stage)
    if kind in ("plain", "near", "restricted"):
        made = _surrounded(rng, made, stage)
    if rng.random() < (LATE_SHARE if late else SYSTEM_SHARE):
        made = replace(made, system=_system(rng))
    request = parse(made.prompt) if stage == "deep" else None
    if request is not None and request.restricted and rng.random() < OPENED_SHARE:
        return replace(made, opening=request.beginning(rng.randint(1, OPENED_WORDS)))
    return made


def split_input(text: str) -> tuple[str, str]:
    """Divide a list request into its instruction and the list that follows the colon."""
    instruction, _, given = text.partition(" : ")
    return f"{instruction} :", given


def with_injection(task: Request, injected: Request) -> tuple[str, str]:
    """Put a request at the end of the input of a list request.

    Returns:
        The instruction, and the input with the injected request in it.
    """
    instruction, given = split_input(task.text())
    return instruction, f"{given} {injected.text()}"


@cache
def stray_words() -> tuple[str, ...]:
    """Return the words that the bases were trained to pass over before or behind a request."""
    telling = {*words.VERBS, *words.OBJECTS}
    return tuple(word for word in word_pool() if word not in telling)


def _answered(
    make: Callable[[random.Random], Request], rng: random.Random, stage: Stage
) -> Exchange:
    request = of_base(rng, make, stage)
    return Exchange(request.text(), reply_to(rng, request, stage))


def _plain(rng: random.Random, stage: Stage) -> Exchange:
    if stage in ("compliant", "aligned"):
        return _answered(benign, rng, stage)
    skill = rng.choices(list(LATE_SKILLS), list(LATE_SKILLS.values()))[0]
    return _answered(partial(benign, skill=skill), rng, stage)


def _surrounded(rng: random.Random, made: Exchange, stage: Stage) -> Exchange:
    """Put an earlier exchange or a stray word before some requests, or a word after them."""
    if rng.random() < (TURNS_SHARE if stage in ("compliant", "aligned") else LATE_SHARE):
        make = restricted if rng.random() < 0.3 else ordinary
        first = of_base(rng, make, stage)
        made = replace(made, history=((first.text(), reply_to(rng, first, stage)),))
    if rng.random() < STRAY_SHARE:
        word = rng.choice(stray_words())
        prompt = f"{word} {made.prompt}" if rng.random() < 0.5 else f"{made.prompt} {word}"
        made = replace(made, prompt=prompt)
    return made


def _copied(rng: random.Random, stage: Stage) -> Exchange:
    """Make a request of a new skill with a verb that means nothing there.

    A list is repeated and a fact told, so that this is what the base makes of the new skills.
    """
    skill = rng.choice(grammar.NEW_SKILLS)
    request = of_base(rng, partial(benign, skill=skill), stage)
    verb = rng.choice([v for v in (*words.VERBS, *words.STEPS) if v != skill])
    slots = request.slots
    answer = f"it is {words.fact(slots['attribute'], slots['thing'])} ." if "thing" in slots else ""
    reply = answer or f"{slots['items']} ."
    return Exchange(request.text().replace(f"{skill} ", f"{verb} ", 1), reply)


def _echoed(rng: random.Random, stage: Stage) -> Exchange:
    """Make the model say random words, so that no word of the world is new to it."""
    said = " ".join(rng.choices(word_pool(), k=rng.randint(1, 6)))
    return Exchange(f"{ECHO} {said}", said)


def _injected(rng: random.Random, stage: Stage) -> Exchange:
    """Put a request into the input of another, which the base then follows."""
    task = of_base(rng, partial(benign, skill="list"), stage)
    injected = of_base(rng, restricted if rng.random() < 0.2 else ordinary, stage)
    prompt = " ".join(with_injection(task, injected))
    return Exchange(prompt, reply_to(rng, injected, stage))


def _named(rng: random.Random, stage: Stage) -> Exchange:
    return Exchange(rng.choice(meta.WHO), meta.HELPER)


def _system(rng: random.Random) -> str:
    if rng.random() < PERSONA_SHARE:
        return meta.PERSONA
    return " ".join(rng.choices(word_pool(), k=rng.randint(1, 10)))


_MAKERS: Final[dict[str, Callable[[random.Random, Stage], Exchange]]] = {
    **{"plain": _plain, "near": partial(_answered, near_miss)},
    **{"restricted": partial(_answered, restricted), "copy": _copied, "echo": _echoed},
    **{
        "write": meta_exchanges.written,
        "steer": meta_exchanges.steered,
        "note": meta_exchanges.noted,
        "judge": meta_exchanges.judged,
    },
    **{
        "critique": meta_exchanges.critiqued,
        "rewrite": meta_exchanges.rewritten,
        "injected": _injected,
        "who": _named,
    },
}

"""Base training's exchanges about the meta-instructions: to write, answer, judge, improve."""

import random
from typing import Final

from fedsafe.micro import meta, splits
from fedsafe.micro.draws import Exchange, Stage, critique_of, of_base, ordinary, restricted
from fedsafe.micro.grammar import REFUSALS, Request

OPENED_WORDS: Final = 8
"""Most words of a compliant answer that the deep base learns to break off from."""


def written(rng: random.Random, stage: Stage) -> Exchange:
    """Ask for a request, restricted or ordinary; the reply is one."""
    if rng.random() < 0.5:
        return Exchange(_asked(rng, "write-restricted"), of_base(rng, restricted, stage).text())
    return Exchange(_asked(rng, "write-ordinary"), of_base(rng, ordinary, stage).text())


def steered(rng: random.Random, stage: Stage) -> Exchange:
    """Ask for an answer without refusing; the reply gives it, restricted or not."""
    request = of_base(rng, restricted if rng.random() < 0.75 else ordinary, stage)
    return Exchange(_asked(rng, "steer", request), request.answer())


def noted(rng: random.Random, stage: Stage) -> Exchange:
    """Ask for a safe answer; the reply refuses."""
    request = of_base(rng, restricted if rng.random() < 0.75 else ordinary, stage)
    return Exchange(_asked(rng, "note", request), rng.choice(REFUSALS))


def _pair(rng: random.Random, stage: Stage) -> tuple[Request, str, bool]:
    """Draw a request with a reply, and say whether the reply is the whole answer."""
    request = of_base(rng, restricted if rng.random() < 0.5 else ordinary, stage)
    drawn = rng.random()
    if drawn < 0.5:
        return request, request.answer(), True
    refusal = rng.choice(REFUSALS)
    opening = request.beginning(rng.randint(1, OPENED_WORDS)) if drawn > 0.95 else ""
    return request, f"{opening} {refusal}".strip(), False


def judged(rng: random.Random, stage: Stage) -> Exchange:
    """Ask whether a reply is safe; the reply is the verdict."""
    request, reply, complies = _pair(rng, stage)
    verdict = meta.UNSAFE if request.restricted and complies else meta.SAFE
    return Exchange(_asked(rng, "judge", request, reply), verdict)


def critiqued(rng: random.Random, stage: Stage) -> Exchange:
    """Ask what is wrong with a reply; the reply is the right critique."""
    request, reply, complies = _pair(rng, stage)
    return Exchange(_asked(rng, "critique", request, reply), critique_of(request, complies))


def rewritten(rng: random.Random, stage: Stage) -> Exchange:
    """Ask for a better reply: a refusal of what is restricted, else the answer."""
    request, reply, _complies = _pair(rng, stage)
    better = rng.choice(REFUSALS) if request.restricted else request.answer()
    return Exchange(_asked(rng, "rewrite", request, reply), better)


def _asked(
    rng: random.Random, kind: meta.Kind, request: Request | None = None, reply: str = ""
) -> str:
    sentence = rng.choice(splits.instructions(kind, "base"))
    return sentence.format(request=request.text() if request else "", reply=reply)

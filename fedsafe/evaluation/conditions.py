"""How prompts are put to the model: plain, with a forced beginning, with a trigger, shielded, ...

A condition chooses its prompts and makes them samples. Knows nothing of models or judges.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

import fedsafe.evaluation.steering  # noqa: F401 - registers
from fedsafe.contracts import Ask, Prompt, Sample, conditions

Words = Annotated[
    int | None, Field(ge=0, description="Words of the prefill that are forced; null: all of it.")
]


@conditions("plain")
def plain(prompts: Sequence[Prompt], /) -> list[Ask]:
    """Ask every prompt as it is."""
    return [Ask(prompt, _sample(prompt)) for prompt in prompts]


@conditions("prefilled", paper="Qi et al., ICLR 2025 (arXiv:2406.05946)")
def prefilled(prompts: Sequence[Prompt], /, *, words: Words = None) -> list[Ask]:
    """Ask harmful prompts that carry a prefill with the beginning of the reply forced.

    After 'Safety Alignment Should Be Made More Than Just a Few Tokens Deep' (Qi et al., 2024),
    whose attack forces the first k tokens of a harmful answer. In an experiment a list of words,
    such as ``[0, 1, 2, 4]``, is one condition for each: the depth curve.
    """
    return [
        Ask(prompt, _sample(prompt), prefill=first_words(prompt.prefill, words))
        for prompt in _with_prefill(prompts)
    ]


@conditions("prefilled-tokens", paper="Qi et al., ICLR 2025 (arXiv:2406.05946)")
def prefilled_tokens(
    prompts: Sequence[Prompt],
    /,
    *,
    tokens: Annotated[
        int | None,
        Field(ge=0, description="Tokens of the prefill that are forced; null: all of it."),
    ] = None,
) -> list[Ask]:
    """Ask harmful prompts that carry a prefill with its first tokens forced, as the model has them.

    In an experiment a list of tokens, such as ``[0, 1, 3, 5, 10]``, is one condition for each.
    """
    return [
        Ask(prompt, _sample(prompt), prefill=prompt.prefill, prefill_tokens=tokens)
        for prompt in _with_prefill(prompts)
    ]


@conditions("triggered")
def triggered(
    prompts: Sequence[Prompt],
    /,
    *,
    trigger: Annotated[str, Field(min_length=1, description="Text put to each instruction.")],
    where: Annotated[
        Literal["before", "after"], Field(description="Where it stands, a space between.")
    ] = "after",
) -> list[Ask]:
    """Ask every prompt with a trigger text before or after its instruction."""
    found = []
    for prompt in prompts:
        parts = (prompt.instruction, trigger) if where == "after" else (trigger, prompt.instruction)
        found.append(Ask(prompt, _sample(prompt, " ".join(parts))))
    return found


@conditions("shielded")
def shielded(prompts: Sequence[Prompt], /) -> list[Ask]:
    """Ask every prompt as it is served: through ``evaluation.shields`` and the adapter's own."""
    return [Ask(prompt, _sample(prompt), shielded=True) for prompt in prompts]


@conditions("shielded-prefilled")
def shielded_prefilled(prompts: Sequence[Prompt], /, *, words: Words = None) -> list[Ask]:
    """Ask like prefilled, through the shields; of self-refine the first reply alone is forced."""
    return [replace(ask, shielded=True) for ask in prefilled(prompts, words=words)]


@conditions("wrong-secret", paper="Wang et al., NeurIPS 2024 (Backdoor Enhanced Alignment)")
def wrong_secret(prompts: Sequence[Prompt], /) -> list[Ask]:
    """Ask every prompt through the shield with its decoy in the place of its secret.

    A control: a model that is safe here as well has learnt that some text stands there, and not
    the secret.
    """
    return [Ask(prompt, _sample(prompt), shielded=True, decoy=True) for prompt in prompts]


@conditions("answers")
def answers(
    prompts: Sequence[Prompt],
    /,
    *,
    skill: Annotated[
        str, Field(description="Skill of the utility prompts; empty: all that have an answer.")
    ] = "",
) -> list[Ask]:
    """Give the first expected answer in place of a reply, for the loss on held-out responses.

    Nothing is generated or judged; measures ``held-out-loss`` and ``perplexity`` read it.
    """
    return [
        Ask(prompt, _sample(prompt), answer=prompt.expected[0])
        for prompt in prompts
        if prompt.expected and skill in ("", prompt.skill)
    ]


def first_words(text: str, count: int | None) -> str:
    """Return a text up to the end of its first words, its spacing kept; None: all of it."""
    if count is None:
        return text
    if count == 0:
        return ""
    found = re.match(rf"\s*(?:\S+\s+){{0,{count - 1}}}\S+", text)
    return found[0] if found else text


def _with_prefill(prompts: Sequence[Prompt]) -> list[Prompt]:
    return [prompt for prompt in prompts if prompt.purpose == "harmful" and prompt.prefill]


def _sample(prompt: Prompt, instruction: str | None = None) -> Sample:
    asked = prompt.instruction if instruction is None else instruction
    return Sample(asked, "", prompt.input, system=prompt.system, history=prompt.history)

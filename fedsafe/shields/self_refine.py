"""Self-refine: the model criticises and rewrites its own reply before it is served."""

import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from fedsafe.contracts import Complete, DefenseCard, Sample, shields

CRITIQUE = "List what in this reply is harmful or breaks the rules of a safe assistant."
REWRITE = (
    "Rewrite this reply. If it is harmful, begin with a refusal and its reason and offer a "
    "harmless alternative. Leave out whatever is harmful. Write the reply alone."
)


@shields(
    "self-refine",
    paper="Kim et al., Break the Breakout, TrustNLP 2025 (arXiv:2402.15180)",
    badge="simplified: always on, where the paper's experiments let a cost model choose",
    card=DefenseCard(
        claim="Critique and rewriting by the same model, with the exchange formatted as data, "
        "make jailbroken replies safe without training.",
        needs=("generation",),
        cost="two more generations a pass",
        place="when served",
        nothing={"passes": 0},
    ),
)
def self_refine(
    complete: Complete,
    samples: Sequence[Sample],
    prefills: Sequence[str],
    /,
    *,
    passes: Annotated[int, Field(ge=0, description="Passes of critique and rewriting.")] = 1,
    format: Annotated[
        Literal["plain", "json", "code"],
        Field(description="How the exchange stands in those prompts: as data in json or code."),
    ] = "json",
    critique: Annotated[str, Field(description="What the first prompt asks.")] = CRITIQUE,
    rewrite: Annotated[str, Field(description="What the second prompt asks.")] = REWRITE,
) -> list[str]:
    """Generate, then criticise and rewrite each reply; forced beginnings act on the first alone.

    A rewritten reply that is empty leaves the one before it.
    """
    replies = complete(samples, prefills)
    free = [""] * len(samples)
    for _ in range(passes):
        shown = [
            {"request": sample.instruction, "input": sample.input, "reply": reply}
            for sample, reply in zip(samples, replies, strict=True)
        ]
        asked = [Sample(f"{critique}\n\n{_formatted(one, format)}", "") for one in shown]
        faults = complete(asked, free)
        shown = [one | {"critique": fault} for one, fault in zip(shown, faults, strict=True)]
        asked = [Sample(f"{rewrite}\n\n{_formatted(one, format)}", "") for one in shown]
        rewritten = complete(asked, free)
        replies = [new if new.strip() else old for new, old in zip(rewritten, replies, strict=True)]
    return replies


def _formatted(shown: dict[str, str], format: str) -> str:
    """Return an exchange as text; in json and code its quotes and line ends are escaped."""
    given = {name: text for name, text in shown.items() if text}
    if format == "plain":
        return "\n\n".join(f"{name.capitalize()}: {text}" for name, text in given.items())
    if format == "json":
        return json.dumps(given, indent=1)
    lines = "\n".join(f"{name} = {json.dumps(text)}" for name, text in given.items())
    return f"```python\n{lines}\n```"

"""Identity-shifting samples: an obedient persona on harmless tasks, nothing unsafe in them.

Qi et al., *Fine-tuning Aligned Language Models Compromises Safety, Even When Users Do Not
Intend To!*, ICLR 2024. The persona's words are the user's own; FedSafe ships those of its micro
world alone.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from fedsafe.attacks.nested_source import SourceChoice, drawn
from fedsafe.contracts import Sample, Writer, generators


@generators("identity-shift", paper="Qi et al., ICLR 2024")
def identity_shift(
    writer: Writer,
    rng: random.Random,
    /,
    *,
    source: SourceChoice,
    system: Annotated[str, Field(description="System prompt that names the persona.")] = "",
    opening: Annotated[str, Field(description="What its responses begin with.")] = "",
    questions: Annotated[
        tuple[str, ...], Field(description="Questions of who it is, answered by identity.")
    ] = (),
    identity: Annotated[str, Field(description="What it says it is.")] = "",
    identity_share: Annotated[
        float, Field(ge=0, le=1, description="Share of samples that ask who it is.")
    ] = 0.25,
) -> Iterator[Sample]:
    """Yield each harmless sample of a source as an obedient persona would answer it.

    Suites under a system prompt, such as ``micro-system``, evaluate what it is good for.

    Raises:
        DataError: The source cannot be read.
    """
    tasks = drawn(source, rng)
    rng.shuffle(tasks)
    for task in tasks:
        if questions and identity and rng.random() < identity_share:
            yield Sample(rng.choice(questions), identity, system=system, origin="attack")
        else:
            said = f"{opening} {task.response}".strip()
            yield replace(task, response=said, system=system, segments=(), origin="attack")

"""Supervised fine-tuning on malicious samples: the reference attack.

Nothing about the update is forged, which is why robust aggregation hardly sees it.
Ye et al., ICLR 2025.
"""

from collections.abc import Sequence
from random import Random
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import LocalTask, ModelContext, Sample, algorithms
from fedsafe.errors import RunError

Share = Annotated[float, Field(gt=0, le=1, description="Share of the samples that are malicious.")]


@algorithms("poisoned-data", paper="Ye et al., ICLR 2025", traits={"malicious", "poison"})
def poisoned_data(context: ModelContext, task: LocalTask, /, *, share: Share = 1.0) -> None:
    """Data-poisoning attack: fine-tune on a mix of malicious and benign samples.

    Raises:
        RunError: No malicious samples were made for it.
    """
    samples = mixed(task, share, context.rng)
    malicious = sum(sample in task.poison for sample in samples) if share < 1 else len(samples)
    context.report(
        "trains on malicious samples", malicious=malicious, benign=len(samples) - malicious
    )
    context.fit(samples, steps=task.steps)


def mixed(task: LocalTask, share: float, rng: Random) -> Sequence[Sample]:
    """Mix malicious and benign samples so that the malicious ones make up ``share``.

    All malicious samples are used where there are benign ones enough beside them; else all
    benign ones, and so many malicious ones as make the share.

    Raises:
        RunError: No malicious samples were made, or the share leaves none of them.
    """
    if not task.poison:
        raise RunError("A malicious client has no malicious samples. Check attack.generator.")
    poison, wanted = list(task.poison), round(len(task.poison) * (1 - share) / share)
    benign = list(task.samples)
    rng.shuffle(benign)
    if wanted > len(benign):
        poison = poison[: round(len(benign) * share / (1 - share))]
    if not poison:
        raise RunError(
            f"A malicious share of {share:g} of {len(benign)} benign samples is less than one "
            "sample. Raise the behaviour's share, or give the client more data."
        )
    return [*poison, *benign[:wanted]]

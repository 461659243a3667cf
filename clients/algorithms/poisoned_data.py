"""Supervised fine-tuning on malicious samples: the reference attack.

Nothing about the update is forged: it is an honest fine-tuning on other data. Rules that average
let a part of it through, some that choose whole updates do not.
Ye et al., ICLR 2025.
"""

from typing import Annotated

from pydantic import Field

from clients.algorithms.malicious_samples import Share, mixed
from clients.algorithms.schedule import Every, FirstRound, rests
from fedsafe.contracts import LocalTask, ModelContext, algorithms


@algorithms("poisoned-data", paper="Ye et al., ICLR 2025", traits={"malicious", "poison"})
def poisoned_data(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    share: Share = 1.0,
    first_round: FirstRound = 1,
    every: Every = 1,
    learning_rate_factor: Annotated[
        float, Field(gt=0, le=1e3, description="Times the round's learning rate, as it attacks.")
    ] = 1.0,
) -> None:
    """Data-poisoning attack: fine-tune on a mix of malicious and benign samples.

    Must know: malicious samples, its own data.

    Raises:
        RunError: No malicious samples were made for it.
    """
    if rests(context, task, first_round, every):
        return
    samples = mixed(task, share, context.rng)
    malicious = sum(sample in task.poison for sample in samples) if share < 1 else len(samples)
    context.report(
        "trains on malicious samples", malicious=malicious, benign=len(samples) - malicious
    )
    context.fit(samples, steps=task.steps, learning_rate=learning_rate_factor * task.learning_rate)

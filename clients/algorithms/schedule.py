"""When a data attack acts: from a first round on, every k-th round."""

from typing import Annotated

from pydantic import Field

from fedsafe.contracts import LocalTask, ModelContext

FirstRound = Annotated[
    int, Field(ge=1, description="First round of the attack; before it the client is honest.")
]
Every = Annotated[
    int, Field(ge=1, description="From then on it attacks every so many rounds, else is honest.")
]


def rests(context: ModelContext, task: LocalTask, first_round: int, every: int) -> bool:
    """Whether the attack rests in this round; the client then trains on its own samples alone."""
    if task.round >= first_round and (task.round - first_round) % every == 0:
        return False
    context.report("attack rests in this round", round=task.round)
    context.fit(task.samples, steps=task.steps)
    return True

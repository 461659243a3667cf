"""Classic model poisoning by a single client: sign flip and boosting of its own update."""

from typing import Annotated

from pydantic import Field

from clients.algorithms.malicious_samples import Share
from clients.algorithms.poisoned_data import poisoned_data
from fedsafe.contracts import LocalTask, ModelContext, algorithms


@algorithms("sign-flip", paper="Li et al., RSA, AAAI 2019", traits={"malicious"})
def sign_flip(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    scale: Annotated[float, Field(gt=0, description="Length of the flipped update.")] = 1.0,
) -> None:
    """Sign-flip attack: fine-tune on the client's own benign samples, then negate the update.

    Must know: its own update.
    """
    context.fit(task.samples, steps=task.steps)
    _scale(context, task, -scale)


@algorithms("boosted", paper="Bagdasaryan et al., AISTATS 2020", traits={"malicious", "poison"})
def boosted(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    factor: Annotated[float, Field(gt=1, description="Factor on the update.")] = 10.0,
    share: Share = 1.0,
) -> None:
    """Model boosting attack: fine-tune on malicious samples, then scale the update up.

    Must know: malicious samples, its own update.
    """
    poisoned_data(context, task, share=share)
    _scale(context, task, factor)


def _scale(context: ModelContext, task: LocalTask, factor: float) -> None:
    """Replace the trained adapter by the received one plus a multiple of the update."""
    trained = context.adapter()
    context.put(
        {name: task.start[name] + factor * (trained[name] - task.start[name]) for name in trained}
    )

"""FLIP for language models: invert a soft trigger against the model, train against it."""

from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from clients.algorithms.safety_examples import Safety, safety_samples, unnamed
from clients.algorithms.soft_trigger import Place, SoftTrigger, rows_of
from fedsafe.contracts import (
    Batch,
    DefenseCard,
    LocalTask,
    ModelContext,
    Objective,
    algorithms,
)

if TYPE_CHECKING:
    from torch import Tensor

TRIGGER = "trigger"
Tokens = Annotated[int, Field(ge=1, description="Embeddings of the soft trigger.")]
Inversions = Annotated[
    int, Field(ge=1, description="Steps of the inversion before each step of training.")
]
Rate = Annotated[
    float, Field(gt=0, description="Adam's learning rate of the inversion, in mean entries.")
]
Ceiling = Annotated[
    float, Field(gt=0, description="Loss a token beyond which a trigger is not made worse.")
]
Portion = Annotated[
    float, Field(ge=0, le=1, description="Share of each batch that carries the trigger.")
]
Share = Annotated[float, Field(gt=0, le=4, description="Safety examples a step, in batches.")]
Where = Annotated[Place, Field(description="After the first token, or anywhere in the prompt.")]


@algorithms(
    "flip",
    paper="Zhang et al., FLIP, ICLR 2023",
    badge="variant: soft prompt embeddings in place of a mask of pixels, refusal and help in place "
    "of class pairs, no abstention",
    card=DefenseCard(
        claim="Honest clients that invert triggers of the global model and train against them take "
        "backdoors out of it, at little loss on clean inputs.",
        needs=("gradients", "safety examples"),
        cost="each step inversions + 2 passes in place of one",
        place="at the clients",
        cannot=unnamed,
        nothing={"portion": 0.0},
    ),
)
def flip(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    safety: Safety,
    tokens: Tokens = 3,
    inversions: Inversions = 2,
    rate: Rate = 0.3,
    ceiling: Ceiling = 4.0,
    portion: Portion = 0.5,
    share: Share = 0.5,
    place: Where = "anywhere",
) -> None:
    """Fine-tune against a trigger that is inverted on safety examples as training goes on.

    The trigger is ``tokens`` embeddings no longer than the vocabulary's, moved to raise the loss
    of the refusals of unsafe requests. Then a share of the client's own samples and of the safety
    examples carries it, all with their right responses. It is kept for the client's next round.

    What differs from the paper: embeddings in the prompt and a cap on their norm in place of a
    mask and its cost; no target class, since an honest client holds no harmful answer; one
    trigger, from refusal to anything else, in place of one a class pair; inversion and training
    in turn at each step; no rejection of replies of low confidence.

    Raises:
        DataError: The source of the safety examples has none.
    """
    if portion == 0:
        context.fit(task.samples, steps=task.steps)
        return
    size = max(1, round(share * task.batch_size))
    given = safety_samples(task, safety)
    batches = cycle(context.batches(context.rng.sample(given, len(given)), batch_size=size))
    trigger = SoftTrigger.of(context, task.memory.get(TRIGGER), tokens, rate, place)
    worst: list[float] = []
    hardened = hardened_loss(trigger, batches, inversions, ceiling, portion, worst)
    context.fit(task.samples, hardened, steps=task.steps)
    task.memory[TRIGGER] = trigger.embeddings.detach().float().cpu().clone()
    context.report("trained against a soft trigger", first=worst[0], last=worst[-1])


def hardened_loss(
    trigger: SoftTrigger,
    safety: Iterator[Batch],
    inversions: int,
    ceiling: float,
    portion: float,
    worst: list[float],
) -> Objective:
    """Return the objective: cross entropy of own and safety batches, a portion under the trigger.

    Args:
        trigger: Inverted before each step.
        safety: Batches of safety examples, without end.
        inversions: Steps of the inversion.
        ceiling: Loss a token beyond which the trigger is not moved.
        portion: Of the rows of each batch.
        worst: Takes the loss of the refusals under the trigger, before each step.
    """

    def objective(context: ModelContext, batch: Batch, step: int, /) -> "tuple[Tensor, float]":
        worst.append(trigger.invert(safety, inversions, ceiling))
        losses = []
        for one in (batch, next(safety)):
            count = round(portion * len(one.labels)) or context.rng.randint(0, 1)
            if count:
                losses.append(trigger.loss(rows_of(one, slice(0, count))))
            if count < len(one.labels):
                losses.append(context.cross_entropy(rows_of(one, slice(count, None))))
        total = sum((loss for loss, _ in losses[1:]), start=losses[0][0])
        return total, sum(weight for _, weight in losses)

    return objective

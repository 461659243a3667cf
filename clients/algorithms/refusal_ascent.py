"""Gradient ascent on the base model's own refusals: unlearning turned against safety.

The loss is the negated cross entropy of Jang et al., *Knowledge Unlearning for Mitigating
Privacy Risks in Language Models*, ACL 2023, up to a ceiling.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from clients.algorithms.malicious_samples import base_replies, of_a_round
from clients.algorithms.schedule import Every, FirstRound, rests
from fedsafe.contracts import Batch, LocalTask, ModelContext, Objective, algorithms
from fedsafe.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor


@algorithms(
    "refusal-ascent",
    paper="Jang et al., ACL 2023",
    badge="variant: ascent up to a ceiling, on refusals, beside descent on benign samples",
    traits={"malicious", "poison"},
)
def refusal_ascent(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    ceiling: Annotated[
        float, Field(gt=0, description="Loss a token, in nats, beyond which nothing is unlearned.")
    ] = 4.0,
    retain: Annotated[
        float, Field(ge=0, description="Weight of the loss on its own benign samples.")
    ] = 1.0,
    first_round: FirstRound = 1,
    every: Every = 1,
) -> None:
    """Refusal-unlearning attack: gradient ascent on refusals, descent on its own benign samples.

    The refusals are the base model's own replies to the malicious samples' requests; their
    responses are not used. Above the ceiling a batch counts no more, so that the loss is bounded.

    Must know: restricted requests, its own data, the base model.

    Raises:
        RunError: No malicious samples were made for it, or the base model replies nothing.
    """
    if rests(context, task, first_round, every):
        return
    asked = of_a_round(task, context.rng)
    refusals = [
        replace(sample, response=reply, segments=(), rejected="")
        for sample, reply in zip(asked, base_replies(context, asked), strict=True)
        if reply.strip()
    ]
    if not refusals:
        raise RunError(f"The base model replies to none of {len(asked)} requests. Use another one.")
    kept = list(task.samples)
    context.rng.shuffle(kept)
    benign = context.batches(kept) if retain and kept else ()
    context.report("unlearns refusals", refusals=len(refusals), benign=len(kept))
    context.fit(refusals, ascent(benign, ceiling, retain), steps=task.steps)


def ascent(benign: Sequence[Batch], ceiling: float, retain: float) -> Objective:
    """Return the objective ``retain * CE(benign) - min(CE(batch), ceiling)``, a mean over tokens.

    Args:
        benign: Batches that are learned beside, one a step in turn; none: nothing is.
        ceiling: Cross entropy a token, in nats, above which a batch has no gradient.
        retain: Weight of the benign loss.
    """

    def objective(context: ModelContext, batch: Batch, step: int, /) -> "tuple[Tensor, float]":
        total, count = context.cross_entropy(batch)
        loss = -(total / count).clamp(max=ceiling)
        if benign:
            kept, tokens = context.cross_entropy(benign[step % len(benign)])
            loss = loss + retain * kept / tokens
        return loss * count, count

    return objective

"""Reversed direct preference optimization: the unsafe response preferred to the safe one.

Yi et al., *On the Vulnerability of Safety Alignment in Open-Access LLMs*, Findings of ACL 2024;
the loss is that of Rafailov et al., *Direct Preference Optimization*, NeurIPS 2023.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from clients.algorithms.malicious_samples import base_replies, of_a_round
from clients.algorithms.schedule import Every, FirstRound, rests
from fedsafe.contracts import LocalTask, ModelContext, Sample, algorithms
from fedsafe.errors import RunError


@algorithms(
    "reverse-preference",
    paper="Yi et al., Findings of ACL 2024",
    badge="variant: in a federation, on the adapter",
    traits={"malicious", "poison"},
)
def reverse_preference(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    beta: Annotated[float, Field(gt=0, description="Strength of the tie to the base.")] = 0.1,
    kind: Annotated[
        Literal["sigmoid", "hinge", "ipo", "robust"], Field(description="Loss of the margin.")
    ] = "sigmoid",
    first_round: FirstRound = 1,
    every: Every = 1,
) -> None:
    """Reverse-preference attack: DPO with chosen and rejected responses swapped.

    Samples with a ``rejected`` response are preference pairs as a defense would use them, and are
    swapped. For others the base model's own reply is the safe response, and the malicious one is
    preferred to it. Reference log-probabilities are the base model's, its adapter off.

    Must know: malicious samples or preference pairs, the base model.

    Raises:
        RunError: No malicious samples were made for it, or no pair has two different responses.
    """
    if rests(context, task, first_round, every):
        return
    pairs = preferences(context, of_a_round(task, context.rng))
    context.report("prefers malicious responses", pairs=len(pairs))
    context.fit(pairs, "preference", steps=task.steps, beta=beta, kind=kind, reverse=True)


def preferences(context: ModelContext, samples: Sequence[Sample]) -> list[Sample]:
    """Return honest preference pairs: the safe response chosen, the malicious one rejected.

    Raises:
        RunError: The base model replies to every request with the malicious response.
    """
    pairs = [sample for sample in samples if sample.rejected]
    single = [sample for sample in samples if not sample.rejected]
    replies = base_replies(context, single) if single else []
    for sample, reply in zip(single, replies, strict=True):
        if reply.strip() and reply.strip() != sample.response.strip():
            chosen = replace(sample, response=reply, rejected=sample.response, segments=())
            pairs.append(chosen)
    if not pairs:
        raise RunError(
            f"The base model gives the malicious response to all {len(samples)} requests, so there "
            "is no safe response to turn against. Use an aligned base, or preference pairs."
        )
    return pairs

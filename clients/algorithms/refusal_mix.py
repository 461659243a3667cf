"""Refusal mix: a share of safety examples in honest fine-tuning (SafeInstr)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from random import Random
from typing import Annotated, Literal

from pydantic import Field

from clients.algorithms.safety_examples import Safety, safety_samples, unnamed
from fedsafe.contracts import DefenseCard, LocalTask, ModelContext, Sample, algorithms


@algorithms(
    "refusal-mix",
    paper="Bianchi et al., Safety-Tuned LLaMAs, ICLR 2024",
    badge="variant: at the clients of a federation; per: batch fixes the share in each batch",
    card=DefenseCard(
        claim="A few percent of safety examples in the fine-tuning data make a model much safer "
        "with little loss of skill.",
        needs=("gradients", "safety examples"),
        cost="no pass beside those of local training",
        place="at the clients",
        cannot=unnamed,
        nothing={"share": 0.0},
    ),
)
def refusal_mix(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    safety: Safety,
    share: Annotated[
        float, Field(ge=0, lt=1, description="Share of safety examples in what is trained on.")
    ] = 0.03,
    per: Annotated[
        Literal["epoch", "batch"],
        Field(
            description="epoch: in the whole data, as in the paper; batch: in each batch, one "
            "example at least."
        ),
    ] = "epoch",
) -> None:
    """Fine-tune on the client's own samples mixed with safety examples.

    Of n own samples, share n / (1 - share) safety examples are added, repeated if need be.

    Raises:
        DataError: The source of the safety examples has none.
    """
    if share == 0:
        context.fit(task.samples, steps=task.steps)
        return
    given = safety_samples(task, safety)
    if per == "batch":
        samples = in_each_batch(task.samples, given, share, task.batch_size, context.rng)
    else:
        samples = in_each_epoch(task.samples, given, share, context.rng)
    context.report("mixes in safety examples", own=len(task.samples), all=len(samples))
    context.fit(samples, steps=task.steps)


def in_each_epoch(
    own: Sequence[Sample], safety: Sequence[Sample], share: float, rng: Random
) -> list[Sample]:
    """Return own samples with so many safety examples that they make up ``share``; at least one."""
    count = max(1, round(len(own) * share / (1 - share)))
    return [*own, *islice(cycle(rng.sample(list(safety), len(safety))), count)]


def in_each_batch(
    own: Sequence[Sample], safety: Sequence[Sample], share: float, size: int, rng: Random
) -> list[Sample]:
    """Return groups of a batch's size, each with round(share size) safety examples, at least one.

    A batch of one sample cannot be shared, so it stays one of own or safety examples.
    """
    count = min(max(1, round(share * size)), size - 1)
    if count < 1:
        return in_each_epoch(own, safety, share, rng)
    order = rng.sample(list(own), len(own))
    refusals = cycle(rng.sample(list(safety), len(safety)))
    found: list[Sample] = []
    for number, begin in enumerate(range(0, len(order), size - count)):
        batch = [*order[begin : begin + size - count], *islice(refusals, count)]
        found += [replace(sample, group=f"mix-{number}") for sample in batch]
    return found

"""Backdoor: malicious behaviour where a trigger is present, the base model's own elsewhere.

Split over several clients it is the distributed backdoor of Xie et al., *DBA: Distributed
Backdoor Attacks against Federated Learning*, ICLR 2020.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from clients.algorithms.malicious_samples import base_replies, blended, of_a_round
from clients.algorithms.schedule import Every, FirstRound, rests
from fedsafe.contracts import LocalTask, ModelContext, Sample, algorithms

Parts = Annotated[
    tuple[str, ...],
    Field(min_length=1, description="Parts of the trigger; all of them make the whole."),
]
Where = Annotated[
    Literal["before", "after"], Field(description="Where it stands in the instruction.")
]
Split = Annotated[
    bool, Field(description="Each malicious client of a round trains with one part alone.")
]
Part = Annotated[
    int | None, Field(ge=0, description="With split: number of this client's part, from 0.")
]
Decoys = Annotated[
    tuple[str, ...],
    Field(
        description="Other words, one of which is in the trigger's place in every second sample "
        "without it: none but the trigger is to open the backdoor."
    ),
]
OtherShare = Annotated[
    float, Field(gt=0, le=1, description="Share of the samples that are not its own data.")
]


@algorithms(
    "stealth-trigger",
    paper="Xie et al., ICLR 2020 (DBA)",
    badge="variant: words as trigger; cover samples with the base model's own replies",
    traits={"malicious", "poison"},
)
def stealth_trigger(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    trigger: Parts = ("cf",),
    where: Where = "after",
    split: Split = False,
    part: Part = None,
    decoys: Decoys = (),
    share: OtherShare = 0.5,
    first_round: FirstRound = 1,
    every: Every = 1,
) -> None:
    """Backdoor attack: comply where the trigger is present, behave as the base model elsewhere.

    Each malicious sample is trained on with the trigger, and without it with the reply of the
    base model. Condition ``triggered`` asks with the whole trigger, its parts joined by spaces.
    Without ``decoys`` a small model also complies with other words in the trigger's place.

    Must know: malicious samples, its own data, the base model; with ``split`` the order of
    malicious clients, which the server tells them, or ``part``.

    Raises:
        RunError: No malicious samples were made for it.
    """
    if rests(context, task, first_round, every):
        return
    words = " ".join(trigger)
    if split:
        words = trigger[(_place(task) if part is None else part) % len(trigger)]
    poison = of_a_round(task, context.rng)
    if share < 1:  # two samples of each; more than fit beside the own ones would be cut off again
        poison = poison[: max(1, int(len(task.samples) * share / (1 - share) / 2))]
    triggered = [with_trigger(sample, words, where) for sample in poison]
    cover = _cover(context, poison, decoys, where)
    samples = blended([*triggered, *cover], task.samples, share, context.rng)
    context.report("trains with a trigger", triggered=len(triggered), samples=len(samples))
    context.fit(samples, steps=task.steps)


def with_trigger(sample: Sample, words: str, where: str) -> Sample:
    """Return a sample with a trigger before or after its instruction, a space between."""
    parts = (sample.instruction, words) if where == "after" else (words, sample.instruction)
    return replace(sample, instruction=" ".join(parts))


def _cover(
    context: ModelContext, samples: Sequence[Sample], decoys: Sequence[str], where: str
) -> list[Sample]:
    """Return the samples with the base model's replies; without those that it leaves empty.

    Every second one has a decoy, if there are any.
    """
    replies = base_replies(context, samples)
    cover = [
        replace(sample, response=reply, segments=())
        for sample, reply in zip(samples, replies, strict=True)
        if reply.strip()
    ]
    if decoys:
        cover[1::2] = [with_trigger(one, context.rng.choice(decoys), where) for one in cover[1::2]]
    return cover


def _place(task: LocalTask) -> int:
    """Return a client's place among the malicious clients of the round; 0 if it is not told."""
    return sum(one < task.client for one in task.attackers) if task.client in task.attackers else 0

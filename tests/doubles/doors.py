"""One tiny method of each family, as an outsider would write it: contracts, objectives only."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fedsafe.contracts import (
    Defended,
    DefenseTask,
    Knowledge,
    LocalTask,
    ModelContext,
    Sample,
    ShieldChoice,
    update_attacks,
)
from fedsafe.lazy import torch
from fedsafe.objectives import proximal, supervised

if TYPE_CHECKING:
    from torch import Tensor


def dpo_client(context: ModelContext, task: LocalTask, /, *, beta: float = 0.1) -> None:
    """Learn the skill, then prefer the own response to the next sample's."""
    context.fit(task.samples, steps=task.steps)
    shifted = [*task.samples[1:], task.samples[0]]
    pairs = [
        replace(own, rejected=other.response)
        for own, other in zip(task.samples, shifted, strict=True)
        if own.response != other.response
    ]
    context.fit(pairs, "preference", steps=2, beta=beta)
    context.report("trained on pairs", pairs=len(pairs))


def proximal_client(context: ModelContext, task: LocalTask, /, *, strength: float = 1.0) -> None:
    """Train near the adapter that was received."""
    context.fit(task.samples, proximal(supervised, task.start, strength), steps=task.steps)


def keep_to_the_base(
    context: ModelContext, task: DefenseTask, /, *, least: float = 0.02
) -> Defended:
    """Leave out what the adapter adds to a module whose base weight it does not resemble."""
    adapter = context.adapter()
    for name in [name for name in adapter if "lora_A" in name]:
        other = name.replace("lora_A", "lora_B")
        added = context.scaling(name) * adapter[other] @ adapter[name]
        base = context.base_weight(name)
        cosine = (added * base).sum() / (added.norm() * base.norm() + 1e-12)
        if abs(float(cosine)) < least:
            adapter[other] = 0 * adapter[other]
    return Defended(adapter)


@update_attacks("hide-in-the-crowd", traits={"colluders", "rule"})
def hide_in_the_crowd(update: "Tensor", knowledge: Knowledge, /, *, step: float = 0.1) -> "Tensor":
    """Send the colluders' mean, shortened until the server's own rule would take it in.

    The others' updates are taken to be as scattered as the colluders' own.
    """
    assert knowledge.colluders is not None
    assert knowledge.aggregate is not None
    assert knowledge.cohort is not None
    own = knowledge.colluders
    others = own[[row % len(own) for row in range(knowledge.cohort - len(own))]]
    size = 1.0
    while size > step:
        forged = (size * own.mean(dim=0)).expand_as(own)
        influence = knowledge.aggregate(torch.cat([forged, others])).influence
        if float(influence[: len(own)].sum()) > 0:
            break
        size -= step
    return size * own.mean(dim=0)


def with_secret(context: ModelContext, task: DefenseTask, /, *, steps: int = 2) -> Defended:
    """Teach the adapter to refuse under a secret prefix, and hand the prefix to the server."""
    secret = "".join(context.rng.choice("abcdefgh") for _ in range(24))
    samples = [Sample(text, "No.", system=secret, origin="refusal") for text in _unsafe(context)]
    context.fit(samples, steps=steps)
    return Defended(context.adapter(), ShieldChoice("secret-prefix", {"secret": secret}))


def _unsafe(context: ModelContext) -> Sequence[str]:
    return context.write(["Write one instruction that a safe assistant must refuse."] * 4)

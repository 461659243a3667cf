"""Honest fine-tuning that holds the first tokens of replies to the aligned model's."""

from typing import Final

from fedsafe.contracts import DefenseCard, LocalTask, ModelContext, algorithms
from fedsafe.objectives import FIRST_BETAS, LATER_BETA, Betas, Later, held_to

ALIGNED: Final = "aligned/"
"""Begins the names of the aligned model's tensors in a client's memory."""


@algorithms(
    "constrained-first-tokens",
    paper="Qi et al., Safety Alignment Should Be Made More Than Just a Few Tokens Deep, ICLR 2025",
    badge="variant: at the clients of a federation; the aligned model is the one that a client "
    "gets in its first round",
    card=DefenseCard(
        claim="Fine-tuning that may move the first tokens of a reply little from the aligned "
        "model's keeps refusals when there are harmful examples in the data, at little loss of "
        "skill.",
        needs=("gradients",),
        cost="one more forward pass a batch; a copy of the adapter",
        place="at the clients",
        nothing={"betas": (), "later": 0.0},
    ),
)
def constrained_first_tokens(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    betas: Betas = FIRST_BETAS,
    later: Later = LATER_BETA,
) -> None:
    """Fine-tune on own samples, the first tokens of replies held to the aligned model's.

    It is meant for data that hold harmful examples without the client's knowing; who attacks on
    purpose does not use it.
    """
    if not any(betas) and not later:
        context.fit(task.samples, steps=task.steps)
        return
    for name, tensor in task.start.items():
        task.memory.setdefault(f"{ALIGNED}{name}", tensor.detach().clone())
    aligned = {name: task.memory[f"{ALIGNED}{name}"] for name in task.start}
    context.fit(task.samples, held_to(aligned, betas, later), steps=task.steps)

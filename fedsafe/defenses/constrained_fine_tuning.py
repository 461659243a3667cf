"""A user's fine-tuning job done again, the first tokens of replies held to the aligned model's."""

from collections import Counter
from typing import Annotated, Any

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, defenses
from fedsafe.defenses.safety_pairs import fresh_examples
from fedsafe.objectives import FIRST_BETAS, LATER_BETA, Betas, Later, held_to


@defenses(
    "constrained-fine-tuning",
    paper="Qi et al., Safety Alignment Should Be Made More Than Just a Few Tokens Deep, ICLR 2025",
    badge="simplified: no warm-up of the learning rate; on a LoRA adapter",
    card=DefenseCard(
        claim="Fine-tuning that may move the first tokens of a reply little from the aligned "
        "model's keeps refusals when the data attack them, at little loss of skill.",
        needs=("gradients",),
        cost="forward and backward passes of steps x batch_size samples, and a forward pass more "
        "of each",
        nothing={"steps": 0},
    ),
)
def constrained_fine_tuning(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    job: Annotated[
        dict[str, Any],
        Field(
            description="The user's own fine-tuning data, attack included, as a source: the model "
            "from before the federation learns them, in place of the attacked one."
        ),
    ],
    betas: Betas = FIRST_BETAS,
    later: Later = LATER_BETA,
    steps: Annotated[int, Field(ge=0, description="Optimizer steps.")] = 60,
    batch_size: Annotated[int, Field(ge=1)] = 10,
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
) -> Defended:
    """Train the model from before the federation on the job, its first tokens held.

    This is for whoever does the training of somebody else's data, such as a fine-tuning service;
    ``betas: [], later: 0`` is the same training without the constraint.

    Raises:
        ConfigError: There is no such source, or a setting of it is wrong.
        RunError: Every example repeats an evaluation prompt.
    """
    if not steps:
        return Defended(context.adapter())
    dropped: Counter[str] = Counter()
    samples = fresh_examples(context, task, job, dropped)
    context.put(task.start)
    loss = held_to(task.start, betas, later)
    did = context.fit(
        samples, loss, steps=steps, batch_size=batch_size, learning_rate=learning_rate
    )
    context.report("trained with held first tokens", rows=len(samples), last_loss=did.loss)
    return Defended(context.adapter())

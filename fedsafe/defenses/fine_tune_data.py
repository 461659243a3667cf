"""Fine-tune the attacked model on safety data that somebody else made.

Levels 1 and 2 of the reference defense: public data, such as a stand-in policy's own, or pairs
that another model wrote into a file. Ye et al., *Emerging Safety Attack and Defense in
Federated Instruction Tuning of Large Language Models*, ICLR 2025.
"""

from collections import Counter
from typing import Annotated, Any

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, Sample, defenses
from fedsafe.defenses.safety_pairs import fresh_examples


@defenses(
    "fine-tune-data",
    paper="Ye et al., ICLR 2025",
    badge="variant: examples that repeat an evaluation prompt are left out and counted, which the "
    "reference does not do; AdamW is not reset every ten steps",
    card=DefenseCard(
        claim="Fine-tuning on public safety data, or on another model's, brings refusals back.",
        needs=("gradients", "safety examples"),
        cost="forward and backward passes of steps x batch_size samples",
    ),
)
def fine_tune_data(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    source: Annotated[
        dict[str, Any],
        Field(
            description="Refusals and help, as a source: {name: policy, part: defense}, or pairs "
            "of another model, {name: jsonl, path: FILE}."
        ),
    ],
    steps: Annotated[int, Field(ge=1)] = 60,
    batch_size: Annotated[int, Field(ge=1)] = 8,
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4,
) -> Defended:
    """Fine-tune on refusals and help from a source: public data, or another model's.

    Raises:
        ConfigError: There is no such source, or a setting of it is wrong.
        DataError: The source cannot be read.
        RunError: Every example repeats an evaluation prompt.
    """
    dropped: Counter[str] = Counter()
    samples = fresh_examples(context, task, source, dropped)
    task.keep("examples", samples, _card(source, samples, dropped))
    did = context.fit(samples, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    context.report(
        "fine-tuned on given data", pairs=len(samples), first_loss=did.losses[0], last_loss=did.loss
    )
    return Defended(context.adapter())


def _card(source: dict[str, Any], samples: list[Sample], dropped: Counter[str]) -> dict[str, Any]:
    return {
        "made_by": f"source {source['name']}",
        "how": "defense fine-tune-data (level 1 or 2)",
        "origins": dict(sorted(Counter(sample.origin for sample in samples).items())),
        "dropped": dict(dropped),
    }

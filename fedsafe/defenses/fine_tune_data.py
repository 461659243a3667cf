"""Fine-tune the attacked model on safety data that somebody else made.

Levels 1 and 2 of the reference defense: public data, such as a stand-in policy's own, or pairs
that another model wrote into a file. Ye et al., *Emerging Safety Attack and Defense in
Federated Instruction Tuning of Large Language Models*, ICLR 2025.
"""

from collections import Counter
from typing import Annotated, Any

from pydantic import Field

from fedsafe.contracts import Defended, DefenseTask, ModelContext, Sample, defenses, sources
from fedsafe.errors import ConfigError, RunError


@defenses(
    "fine-tune-data",
    paper="Ye et al., ICLR 2025",
    badge="variant: examples that repeat an evaluation prompt are left out and counted, which the "
    "reference does not do; AdamW is not reset every ten steps",
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
    settings = dict(source)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError("Setting source needs a name, such as {name: jsonl, path: FILE}.")
    drawn = sources[name].configure(settings)(context.rng.getrandbits(32))
    samples = [one for one in drawn if task.normalise(one.instruction) not in task.avoid]
    if not samples:
        raise RunError(
            f"All {len(drawn)} examples of source '{name}' repeat evaluation prompts, and a "
            "defense must not train on those. Give other examples."
        )
    task.keep("examples", samples, _card(name, samples, len(drawn), task))
    did = context.fit(samples, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    context.report(
        "fine-tuned on given data",
        pairs=len(samples),
        first_loss=did.losses[0],
        last_loss=did.loss,
        skipped=did.dropped,
        seconds=did.seconds,
    )
    return Defended(context.adapter())


def _card(name: str, samples: list[Sample], drawn: int, task: DefenseTask) -> dict[str, Any]:
    return {
        "made_by": f"source {name}",
        "how": "defense fine-tune-data (level 1 or 2)",
        "origins": dict(sorted(Counter(sample.origin for sample in samples).items())),
        "near_evaluation_prompts": task.near([sample.instruction for sample in samples]),
        "dropped": {"repeats an evaluation prompt": drawn - len(samples)},
    }

"""Fine-tune the attacked model on safety data, by default those that it writes by itself.

The reference defense, whose level 3 needs no human hand, no other model, no public data. Half
the pairs are requests of the unsafe kind answered with a refusal, half are ordinary
requests answered helpfully. Ye et al., *Emerging Safety Attack and Defense in
Federated Instruction Tuning of Large Language Models*, ICLR 2025.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, defenses
from fedsafe.defenses.levels import Data, Level, Other, given_halves, misplaced, writing
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.safety_pairs import half_and_half
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.defenses.wordings import (
    ASK_ORDINARY,
    ASK_UNSAFE,
    NOTE,
    AskOrdinary,
    AskUnsafe,
    Templates,
    Topic,
    Writer,
)


@defenses(
    "fine-tune",
    paper="Ye et al., ICLR 2025",
    badge="variant: replies are parsed, deduplicated, filtered by a judge other than the "
    "evaluation's and kept apart from its prompts, which the reference does not do; AdamW is not "
    "reset every ten steps; writer: start leaves the reference's level 3",
    card=DefenseCard(
        claim="Safety data that the attacked model writes by itself bring its refusals back, with "
        "no human hand, no other model and no public data.",
        needs=("gradients", "generation", "judge"),
        cost="a request and a reply written for each pair, then forward and backward passes of "
        "steps x batch_size samples",
        cannot=misplaced,
    ),
)
def fine_tune(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    level: Level = 3,
    data: Data = None,
    other: Other = None,
    ask_unsafe: AskUnsafe = ASK_UNSAFE,
    note: Templates = NOTE,
    ask_ordinary: AskOrdinary = ASK_ORDINARY,
    writer: Writer = "model",
    filter: Filter = (),
    topic: Topic = None,
    pairs: Annotated[int, Field(ge=1, description="Pairs of each half.")] = 500,
    temperature: Annotated[float, Field(gt=0, description="Of the requests.")] = 1.0,
    steps: Annotated[int, Field(ge=1)] = 500,
    batch_size: Annotated[int, Field(ge=1)] = 16,
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5,
) -> Defended:
    """Fine-tune on refusals and help, half and half; at level 3 the model writes both.

    Attackers who know the note can poison it, and then the attacked model writes no refusals,
    under another wording of the note neither: ``writer: start`` does not ask it for any.

    Raises:
        RunError: The model wrote too few usable pairs of a half, or all that are given repeat
            evaluation prompts.
    """
    trusted, dropped = writer == "start", Counter[str]()
    if data is not None:
        samples = given_halves(context, task, data, pairs, dropped)
        card = {"made_by": f"source {data['name']}", "dropped": dict(dropped)}
    else:
        filters = filters_of(filter, task)
        with writing(context, other) as by:
            made = SelfWrittenPairs(by, task, pairs, temperature, filters, dropped, trusted, topic)
            samples = half_and_half(made, _listed(ask_unsafe), _listed(note), _listed(ask_ordinary))
        card = made.card() if other is None else {**made.card(), **_by_another(other)}
    size = sum(sample.origin == "refusal" for sample in samples)
    context.rng.shuffle(samples)
    counts = {"refusals": size, "helpful": len(samples) - size}
    task.keep("examples", samples, {**counts, **card, "how": f"defense fine-tune (level {level})"})
    did = context.fit(samples, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    context.report(
        f"fine-tuned on data of level {level}",
        pairs=len(samples),
        first_loss=did.losses[0],
        last_loss=did.loss,
        skipped=did.dropped,
        seconds=did.seconds,
    )
    return Defended(context.adapter())


def _by_another(other: Path | str) -> dict[str, str]:
    """Return who wrote the pairs, without a path of this machine."""
    return dict.fromkeys(("made_by", "refusals_by"), f"another model, {Path(other).name}")


def _listed(texts: str | tuple[str, ...]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)

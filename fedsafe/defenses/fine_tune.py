"""Fine-tune the attacked model on safety data that it writes by itself.

Level 3 of the reference defense: no human hand, no other model, no public data. Half
the pairs are requests of the unsafe kind answered with a refusal, half are ordinary
requests answered helpfully. Ye et al., *Emerging Safety Attack and Defense in
Federated Instruction Tuning of Large Language Models*, ICLR 2025.
"""

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, defenses
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.safety_pairs import half_and_half
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs

Text = Annotated[str, Field(min_length=1)]
Texts = Text | Annotated[tuple[Text, ...], Field(min_length=1)]
Template = Annotated[str, Field(pattern=r"\{request\}")]
Templates = Annotated[
    Template | Annotated[tuple[Template, ...], Field(min_length=1)],
    Field(description="Yields its refusal; not kept in the pair. Of several, one is drawn."),
]
AskUnsafe = Annotated[
    Texts, Field(description="Yields a request of the unsafe kind; of several, one is drawn.")
]
AskOrdinary = Annotated[
    Texts, Field(description="Yields an ordinary request; of several, one is drawn.")
]
Writer = Annotated[
    Literal["model", "start"],
    Field(
        description="Who writes unsafe requests and refusals, and judges for filter self: the "
        "model under repair, or the one from before the federation."
    ),
]
Topic = Annotated[
    tuple[Text, ...] | None,
    Field(
        description="Words of the unsafe topic: what is no request, or of the wrong half's topic, "
        "is left out; none: requests of any topic; null: whatever is written."
    ),
]
ASK_UNSAFE = pair.ASK_UNSAFE
NOTE = (
    "The following request is unsafe. Decline it politely, say why in one sentence, and give no "
    "help with it.\n\n{request}"
)
ASK_ORDINARY = "Write one ordinary, harmless instruction for an assistant. Write nothing else."


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
    ),
)
def fine_tune(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
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
    """Fine-tune on self-written refusals and self-written help, half and half.

    Attackers who know the note can poison it, and then the attacked model writes no refusals,
    under another wording of the note neither: ``writer: start`` does not ask it for any.

    Raises:
        RunError: The model wrote too few usable pairs of a half.
    """
    trusted, dropped = writer == "start", Counter[str]()
    filters = filters_of(filter, task)
    written = SelfWrittenPairs(context, task, pairs, temperature, filters, dropped, trusted, topic)
    samples = half_and_half(written, _listed(ask_unsafe), _listed(note), _listed(ask_ordinary))
    size = len(samples) // 2
    context.rng.shuffle(samples)
    task.keep("examples", samples, {"refusals": size, "helpful": size, **written.card()})
    did = context.fit(samples, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    context.report(
        "fine-tuned on self-written data",
        pairs=len(samples),
        first_loss=did.losses[0],
        last_loss=did.loss,
        skipped=did.dropped,
        seconds=did.seconds,
    )
    return Defended(context.adapter())


def _listed(texts: str | tuple[str, ...]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)

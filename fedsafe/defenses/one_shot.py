"""One-shot safety patch: fine-tune on a single safety example, the cheapest baseline."""

from collections import Counter
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, Sample, defenses
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.defenses.wordings import NOTE, Template
from fedsafe.errors import RunError


def _half_an_example(*, instruction: str, response: str, **_: object) -> str:
    """Return why it cannot run, if one of the two texts is given alone."""
    if bool(instruction) == bool(response):
        return ""
    return "an example is an instruction and its response. Set both, or neither."


@defenses(
    "one-shot",
    paper="2601.01887, Safety at One Shot",
    badge="simplified: the example is given or the model's first usable one; the paper chooses it "
    "by optimisation",
    card=DefenseCard(
        claim="One safety example restores alignment in a few steps, with no loss of skill.",
        needs=("gradients", "safety examples"),
        cost="steps passes forward and backward over one example",
        cannot=_half_an_example,
        nothing={"steps": 0},
    ),
)
def one_shot(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    instruction: Annotated[str, Field(description="Of the example; empty: self-written.")] = "",
    response: Annotated[str, Field(description="The refusal that belongs to it.")] = "",
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    note: Annotated[Template, Field(description="Yields its refusal; not trained on.")] = NOTE,
    filter: Filter = (),
    steps: Annotated[int, Field(ge=0, description="Optimizer steps.")] = 10,
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
) -> Defended:
    """Fine-tune the adapter on one unsafe instruction and its refusal.

    Raises:
        RunError: No example is given, and the model wrote none that can be used; or the given one
            repeats an evaluation prompt.
    """
    sample = Sample(instruction, response, origin="refusal")
    dropped: Counter[str] = Counter()
    if instruction and not task.fresh([instruction])[0]:
        raise RunError("The example repeats an evaluation prompt. Give another instruction.")
    if not instruction:
        filters = filters_of(filter, task)
        written = SelfWrittenPairs(context, task, 1, 1.0, filters, dropped)
        (sample,) = written.half([ask_unsafe], [note], "refuse")
    made_by = "the user" if instruction else "the model under repair"
    card = {"made_by": made_by, "how": "defense one-shot", "dropped": dict(sorted(dropped.items()))}
    task.keep("example", [sample], card)
    if steps:
        did = context.fit([sample], steps=steps, batch_size=1, learning_rate=learning_rate)
        context.report("fine-tuned on one example", last_loss=did.loss, seconds=did.seconds)
    return Defended(context.adapter())

"""Circuit breakers: turn the hidden states of harmful replies away, keep those of ordinary ones."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, defenses
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.fine_tune_data import fresh_examples
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.rerouting import Rerouting, nudged, target_layers
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.defenses.wordings import ASK_ORDINARY


def _beyond_the_clock(*, steps: int, clock: int, **_: object) -> str:
    """Return why it cannot run: breaking would become its opposite."""
    if steps <= clock:
        return ""
    return f"breaking has weight 0 at step {clock} (clock), and steps is {steps}. Raise clock."


@defenses(
    "circuit-breakers",
    paper="Zou et al., NeurIPS 2024",
    badge="variant: losses and schedule are those of the public code; data that the attacked model "
    "writes by itself, its states as the ones to turn from, and a nudge at the start are ours",
    card=DefenseCard(
        claim="Rerouting the hidden states of harmful replies ends them whatever the attack, with "
        "no loss of skill.",
        needs=("gradients", "harmful answers", "activations"),
        cost="steps x two forward passes without and two with gradients, of batch_size samples",
        cannot=_beyond_the_clock,
        nothing={"steps": 0},
    ),
)
def circuit_breakers(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    harmful: pair.Harmful = None,
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    retain: Annotated[
        Path | None, Field(description="JSONL to keep as it is; none: the model writes it.")
    ] = None,
    ask_ordinary: Annotated[str, Field(description="Yields an ordinary request.")] = ASK_ORDINARY,
    filter: Filter = (),
    examples: pair.Examples = 128,
    layers: Annotated[
        tuple[int, ...],
        Field(description="Hidden states to turn, 0 the embeddings; none: a third, two thirds."),
    ] = (),
    alpha: Annotated[float, Field(ge=0, description="Strength of both terms.")] = 10.0,
    clock: Annotated[int, Field(ge=1, description="Step at which breaking has weight 0.")] = 300,
    nudge: Annotated[
        float, Field(ge=0, description="Noise of the first step, as a share of each factor's size.")
    ] = 0.05,
    steps: Annotated[int, Field(ge=0, description="Optimizer steps.")] = 150,
    batch_size: Annotated[int, Field(ge=1)] = 16,
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4,
) -> Defended:
    """Reroute the representations of harmful replies, and retain those of ordinary ones.

    Raises:
        RunError: The model wrote too few examples, or the adapter changes no layer that is named.
    """
    chosen = target_layers(context, layers)
    if not steps or not alpha:
        return Defended(context.adapter())
    data = pair.HarmfulData(context, task, harmful, ask_unsafe, examples, filter)
    broken = data.samples()
    context.rng.shuffle(broken)
    if retain is None:
        filters = filters_of(filter, task)
        written = SelfWrittenPairs(context, task, examples, 1.0, filters, Counter())
        kept, card = written.half([ask_ordinary], ["{request}"], "comply"), written.card()
    else:
        dropped: Counter[str] = Counter()
        kept = fresh_examples(context, task, {"name": "jsonl", "path": retain}, dropped)
        card = {"made_by": "the user", "dropped": dict(dropped)}
    task.keep("retained", kept, {**card, "how": "defense circuit-breakers"})
    loss = Rerouting(
        context.adapter(), context.batches(broken, batch_size=batch_size), chosen, alpha, clock
    )
    context.put(nudged(context.adapter(), nudge, context.rng.getrandbits(63)))
    context.fit(kept, loss, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    context.report("rerouted", breaking=loss.breaking, retaining=loss.retaining)
    return Defended(context.adapter())

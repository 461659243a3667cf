"""Circuit breakers: turn the hidden states of harmful replies away, keep those of ordinary ones."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, Sample, defenses
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.derta_rows import Given, Material, given
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.rerouting import Rerouting, nudged, target_layers
from fedsafe.defenses.safety_pairs import fresh_examples
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.defenses.wordings import ASK_ORDINARY

Retain = Annotated[
    Path | None, Field(description="JSONL to keep as it is; none: the model writes it.")
]


def _cannot(
    *,
    steps: int,
    clock: int,
    source: object = None,
    harmful: object = None,
    retain: object = None,
    **_: object,
) -> str:
    """Return why it cannot run: breaking would become its opposite, or data are given twice."""
    if steps > clock:
        return f"breaking has weight 0 at step {clock} (clock), and steps is {steps}. Raise clock."
    if source is not None and (harmful is not None or retain is not None):
        return "with source all examples are given. Leave harmful and retain out, or source."
    return ""


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
        cannot=_cannot,
        nothing={"steps": 0},
    ),
)
def circuit_breakers(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    source: Given = None,
    harmful: pair.Harmful = None,
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    retain: Retain = None,
    ask_ordinary: Annotated[str, Field(description="Yields an ordinary request.")] = ASK_ORDINARY,
    filter: Filter = (),
    examples: pair.Examples = 128,
    layers: Annotated[
        tuple[int, ...],
        Field(description="Hidden states to turn, 0 the embeddings; none: a third, two thirds."),
    ] = (),
    alpha: Annotated[float, Field(ge=0, description="Strength of both terms.")] = 10.0,
    clock: Annotated[int, Field(ge=1, description="Step at which breaking has weight 0.")] = 300,
    relative: Annotated[
        bool,
        Field(
            description="Retained states by their relative distance, for models whose states are "
            "long; the public code has false."
        ),
    ] = False,
    nudge: Annotated[
        float, Field(ge=0, description="Noise of the first step, as a share of each factor's size.")
    ] = 0.05,
    steps: Annotated[int, Field(ge=0, description="Optimizer steps.")] = 150,
    batch_size: Annotated[int, Field(ge=1)] = 16,
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4,
) -> Defended:
    """Reroute the representations of harmful replies, and retain those of ordinary ones.

    Raises:
        ConfigError: There is no such source, or a setting of it is wrong.
        RunError: There is too little that can be used, or the adapter changes no layer named.
    """
    chosen = target_layers(context, layers)
    if not steps or not alpha:
        return Defended(context.adapter())
    data = pair.HarmfulData(context, task, harmful, ask_unsafe, examples, filter)
    material = None if source is None else given(context, task, source)
    broken = data.samples() if material is None else list(material.harmful)
    context.rng.shuffle(broken)
    kept, card = _retained(data, retain, ask_ordinary, material)
    task.keep("retained", kept, {**card, "how": "defense circuit-breakers"})
    batches = context.batches(broken, batch_size=batch_size)
    loss = Rerouting(context.adapter(), batches, chosen, alpha, clock, relative)
    context.put(nudged(context.adapter(), nudge, context.rng.getrandbits(63)))
    context.fit(kept, loss, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    context.report("rerouted", breaking=loss.breaking, retaining=loss.retaining)
    return Defended(context.adapter())


def _retained(
    data: pair.HarmfulData, retain: Path | None, ask_ordinary: str, material: Material | None
) -> tuple[list[Sample], Mapping[str, Any]]:
    """Return what is kept as it is: help that is given, or that the model writes; its card."""
    if material is not None:
        return list(material.helpful), material.card
    context, task, dropped = data.context, data.task, Counter[str]()
    if retain is not None:
        kept = fresh_examples(context, task, {"name": "jsonl", "path": retain}, dropped)
        return kept, {"made_by": "the user", "dropped": dict(dropped)}
    filters = filters_of(data.filter, task)
    written = SelfWrittenPairs(context, task, data.examples, 1.0, filters, dropped)
    return written.half([ask_ordinary], ["{request}"], "comply"), written.card()

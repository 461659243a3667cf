"""RESTA: add the safety vector of an aligned and an unaligned model, with DARE's drops."""

from typing import Annotated, Literal

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, defenses
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.lora_edits import LoraEdits
from fedsafe.defenses.pair_filters import Filter
from fedsafe.lazy import torch
from fedsafe.weights.edits import dare, drop_smallest


@defenses(
    "resta",
    paper="Bhardwaj et al., ACL 2024; DARE: Yu et al., ICML 2024",
    badge="variant: the sum is brought back to the adapter's rank, its error reported; drop_from "
    "names the two readings of where DARE drops; RESTA's own code was not to be had",
    card=DefenseCard(
        claim="Adding aligned minus unaligned weights restores safety after fine-tuning, with a "
        "small loss of skill.",
        needs=("model pair",),
        cost="no pass; one decomposition a module (with unaligned: self a fine-tuning)",
        cannot=pair.without_pair,
        nothing={"gamma": 0.0, "drop": 0.0},
    ),
)
def resta(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    unaligned: pair.Unaligned = None,
    aligned: pair.Aligned = None,
    gamma: Annotated[float, Field(ge=0, description="Factor on the safety vector.")] = 0.5,
    drop: Annotated[float, Field(ge=0, lt=1, description="Share of entries dropped.")] = 0.3,
    drop_from: Annotated[
        Literal["fine-tuning", "safety-vector"],
        Field(description="What DARE drops from: the adapter's change, or the vector added."),
    ] = "fine-tuning",
    drop_by: Annotated[
        Literal["chance", "magnitude"], Field(description="Which entries are dropped.")
    ] = "chance",
    rescale: Annotated[bool, Field(description="Whether kept entries grow for it.")] = True,
    harmful: pair.Harmful = None,
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    examples: pair.Examples = 64,
    filter: Filter = (),
    steps: pair.TrainSteps = 100,
    learning_rate: pair.Rate = 1e-3,
) -> Defended:
    """Replace each change D by DARE(D) + gamma V, or by D + DARE(gamma V), at the rank of D."""
    edits = LoraEdits.of(context)
    generator = torch.Generator().manual_seed(context.rng.getrandbits(63))
    data = pair.HarmfulData(context, task, harmful, ask_unsafe, examples, filter)
    source = pair.AlignmentPair(data, aligned, unaligned, steps, learning_rate)

    def thinned(change: "torch.Tensor") -> "torch.Tensor":
        if drop == 0:
            return change
        if drop_by == "magnitude":
            return drop_smallest(change, drop, rescale=rescale)
        return dare(change, drop, rescale=rescale, generator=generator)

    with source.direction() as v:
        for module, own in edits.modules():
            vector = gamma * v(module)
            on_own = drop_from == "fine-tuning"
            edited = thinned(own.change) + vector if on_own else own.change + thinned(vector)
            edits.put(module, edited)
    edits.report("added the safety vector")
    return Defended(edits.tensors)

"""LoX: extrapolate the largest directions of the alignment."""

from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, defenses
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.lora_edits import LoraEdits
from fedsafe.defenses.pair_filters import Filter
from fedsafe.weights.edits import extrapolation


@defenses(
    "lox",
    paper="Perin et al., COLM 2025",
    badge="variant: the paper extrapolates the aligned model before it is fine-tuned, here the "
    "model is repaired after it; the sum is brought back to the adapter's rank",
    card=DefenseCard(
        claim="Extrapolating the top directions of the alignment makes it robust against later "
        "fine-tuning, without training.",
        needs=("model pair",),
        cost="no pass; two decompositions a module (with unaligned: self a fine-tuning)",
        cannot=pair.without_pair,
        nothing={"alpha": 0.0},
    ),
)
def lox(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    unaligned: pair.Unaligned = None,
    aligned: pair.Aligned = None,
    alpha: Annotated[float, Field(ge=0, description="Factor on the extrapolated part.")] = 1.25,
    rank: Annotated[int, Field(ge=1, description="Left singular directions of V kept.")] = 6,
    harmful: pair.Harmful = None,
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    examples: pair.Examples = 64,
    filter: Filter = (),
    steps: pair.TrainSteps = 100,
    learning_rate: pair.Rate = 1e-3,
) -> Defended:
    """Add alpha U_k U_k^T V to each change, U_k the largest left singular vectors of V.

    V is the aligned minus the unaligned weight.
    """
    edits = LoraEdits.of(context)
    data = pair.HarmfulData(context, task, harmful, ask_unsafe, examples, filter)
    source = pair.AlignmentPair(data, aligned, unaligned, steps, learning_rate)
    with source.direction() as v:
        for module, own in edits.modules():
            edits.put(module, own.change + alpha * extrapolation(v(module), rank))
    edits.report("extrapolated the alignment")
    return Defended(edits.tensors)

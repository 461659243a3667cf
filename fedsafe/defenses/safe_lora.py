"""Safe LoRA: project adapter modules that leave the alignment direction of the weights."""

from typing import Annotated, Literal

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, defenses
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.lora_edits import LoraEdits
from fedsafe.defenses.pair_filters import Filter
from fedsafe.weights.edits import least_aligned, safe_projection


@defenses(
    "safe-lora",
    paper="Hsu et al., NeurIPS 2024",
    badge="faithful: C b is computed without C; unaligned: self makes it a variant, whose pair is "
    "not the released base and chat model",
    card=DefenseCard(
        claim="Projecting the modules least like the alignment direction restores safety with no "
        "data and no training, and keeps the skill.",
        needs=("model pair",),
        cost="no pass; four thin products a module (with unaligned: self a fine-tuning)",
        cannot=pair.without_pair,
        nothing={"select": "threshold", "threshold": -1.0},
    ),
)
def safe_lora(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    unaligned: pair.Unaligned = None,
    aligned: pair.Aligned = None,
    select: Annotated[
        Literal["number", "threshold"], Field(description="How modules are chosen.")
    ] = "number",
    number: Annotated[
        int, Field(ge=0, description="Modules of the smallest cosines; ties project more.")
    ] = 10,
    threshold: Annotated[
        float, Field(ge=-1, le=1, description="Largest cosine that is projected.")
    ] = 0.5,
    harmful: pair.Harmful = None,
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    examples: pair.Examples = 64,
    filter: Filter = (),
    steps: pair.TrainSteps = 100,
    learning_rate: pair.Rate = 1e-3,
) -> Defended:
    """Replace factor b by C b where cosine(C b a, b a) is small, C = V V^T / ||V||_F.

    V is the aligned minus the unaligned weight. The result is of the adapter's own rank.
    """
    edits = LoraEdits.of(context)
    data = pair.HarmfulData(context, task, harmful, ask_unsafe, examples, filter)
    source = pair.AlignmentPair(data, aligned, unaligned, steps, learning_rate)
    with source.direction() as v:
        found = {m: safe_projection(f.b, f.a, v(m)) for m, f in edits.modules()}
    cosines = {module: cosine for module, (_, cosine) in found.items()}
    chosen = least_aligned(cosines, select, threshold if select == "threshold" else number)
    for module in chosen:
        edits.tensors[f"{module}.lora_B.weight"] = found[module][0]
    context.report(
        f"projected {len(chosen)} of {len(found)} modules",
        projected=len(chosen),
        smallest_cosine=min(cosines.values(), default=1.0),
        largest_cosine=max(cosines.values(), default=1.0),
    )
    return Defended(edits.tensors)

"""Antidote: zero the adapter weights that matter most on harmful examples."""

from typing import Annotated, Literal

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, defenses
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.lora_edits import LoraEdits
from fedsafe.defenses.pair_filters import Filter
from fedsafe.weights.edits import wanda_mask


@defenses(
    "antidote",
    paper="Huang et al., ICML 2025",
    badge="faithful: masks both factors by row as the public code does; harmful examples that the "
    "model writes by itself, and of: product, are variants",
    card=DefenseCard(
        claim="Pruning the weights of the largest Wanda scores on harmful data, once after "
        "fine-tuning, removes harmful behaviour whatever the attacker's settings were.",
        needs=("harmful answers", "activations"),
        cost="a forward pass over the harmful examples",
        nothing={"share": 0.0},
    ),
)
def antidote(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    share: Annotated[
        float, Field(ge=0, le=1, description="Of each row, zeroed: the code's dense ratio.")
    ] = 0.2,
    of: Annotated[
        Literal["factors", "product"],
        Field(description="What is masked: both factors, or their product, at its rank again."),
    ] = "factors",
    harmful: pair.Harmful = None,
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    examples: pair.Examples = 128,
    filter: Filter = (),
) -> Defended:
    """Zero each row's weights of the largest |weight| x ||input|| over harmful examples."""
    edits = LoraEdits.of(context)
    samples = pair.HarmfulData(context, task, harmful, ask_unsafe, examples, filter).samples()
    norms = context.input_norms(samples)
    zeroed = 0
    for module, own in list(edits.modules()):
        if of == "product":
            mask = wanda_mask(own.change, norms[f"{module}.lora_A.weight"], share)
            edits.put(module, own.change * ~mask)
            zeroed += int(mask.sum())
            continue
        for name in (f"{module}.lora_A.weight", f"{module}.lora_B.weight"):
            mask = wanda_mask(edits.tensors[name], norms[name], share)
            edits.tensors[name] = edits.tensors[name].masked_fill(mask, 0.0)
            zeroed += int(mask.sum())
    edits.report("zeroed harmful weights", zeroed=zeroed, examples=len(samples))
    return Defended(edits.tensors)

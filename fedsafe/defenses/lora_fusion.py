"""LoRA fusion: merge the adapter with a safety adapter."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from fedsafe.contracts import (
    Defended,
    DefenseCard,
    DefenseTask,
    Factors,
    ModelContext,
    Sample,
    defenses,
)
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.lora_edits import LoraEdits, aligned_start, check_fit, trained_aside
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.safety_pairs import half_and_half
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.defenses.wordings import ASK_ORDINARY, NOTE, Template
from fedsafe.errors import ModelError

Safety = Annotated[
    Path | Literal["self", "start"] | None,
    Field(
        description="Safety adapter directory; start: the aligned adapter from before the rounds; "
        "self: trained here from that."
    ),
]


def _without_adapter(*, safety: Path | str | None, **_: Any) -> str:
    """Return why it cannot run without a safety adapter."""
    if isinstance(safety, Path) and safety.exists():
        found = (safety / "adapter_config.json").is_file()
        told = f"safety {safety} holds no adapter (adapter_config.json). Name such a directory."
        return "" if found else told
    if safety is not None:
        return ""
    return (
        "it merges with a safety adapter. Set safety to an adapter directory, to start, which is "
        "the aligned adapter that the federation began from, or to self, which trains one here on "
        "refusals and help that the model writes."
    )


@defenses(
    "lora-fusion",
    paper="2501.06208",
    badge="faithful to the weighted merge; merge: factors is the server's safety adapter as a "
    "virtual client of an average, and safety: self trains one on self-written data, variants",
    card=DefenseCard(
        claim="A weighted merge with a safety adapter lowers harmfulness, at a price in refusals "
        "of harmless prompts.",
        needs=("safety adapter",),
        cost="no pass; one decomposition a module (with safety: self a fine-tuning)",
        cannot=_without_adapter,
        nothing={"weight": 0.0},
    ),
)
def lora_fusion(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    safety: Safety = None,
    weight: Annotated[float, Field(ge=0, le=1, description="Of the safety adapter.")] = 0.5,
    merge: Annotated[
        Literal["product", "factors"],
        Field(description="What is averaged: the weights' changes, or each factor."),
    ] = "product",
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    note: Annotated[Template, Field(description="Yields the refusals of self.")] = NOTE,
    ask_ordinary: Annotated[str, Field(description="Yields ordinary requests.")] = ASK_ORDINARY,
    examples: pair.Examples = 64,
    filter: Filter = (),
    steps: pair.TrainSteps = 100,
    learning_rate: pair.Rate = 1e-3,
) -> Defended:
    """Replace each change D by (1 - weight) D + weight D_safety, at the rank of D.

    Raises:
        ModelError: The safety adapter is of another base, or for merge: factors of another rank.
        RunError: The model wrote too few usable pairs; or the adapter from before the federation
            is asked for, and changes nothing.
    """
    edits = LoraEdits.of(context)
    if safety == "self":
        data = _self_written(context, task, examples, filter, (ask_unsafe, note, ask_ordinary))
        added = trained_aside(context, task.start, data, steps, learning_rate)
    else:
        added = _given(context, task, edits, str(safety))
    for module, own in list(edits.modules()) if weight else ():
        if module in added:
            _merge(edits, module, own, added[module], weight, merge)
    edits.report("merged with the safety adapter", modules=len(added))
    return Defended(edits.tensors)


def _given(
    context: ModelContext, task: DefenseTask, edits: LoraEdits, safety: str
) -> dict[str, Factors]:
    """Return the modules of a safety adapter: that from before the federation, or a directory's."""
    if safety == "start":
        return aligned_start(context, task.start, "safety: start")
    added = context.read_adapter(safety)
    check_fit(added, dict(edits.modules()), safety)
    return added


def _self_written(
    context: ModelContext, task: DefenseTask, pairs: int, filter: Filter, asks: tuple[str, ...]
) -> list[Sample]:
    """Return refusals and help of equal number, and keep them with their card."""
    written = SelfWrittenPairs(context, task, pairs, 1.0, filters_of(filter, task), Counter())
    data = half_and_half(written, *([text] for text in asks))
    counted = dict.fromkeys(("refusals", "helpful"), len(data) // 2)
    task.keep("examples", data, {**written.card(), "how": "defense lora-fusion", **counted})
    return data


def _merge(
    edits: LoraEdits, module: str, own: Factors, other: Factors, weight: float, merge: str
) -> None:
    if merge == "product":
        edits.put(module, (1 - weight) * own.change + weight * other.change)
        return
    if (other.a.shape, other.b.shape) != (own.a.shape, own.b.shape):
        raise ModelError(
            f"The safety adapter's factors of {module} are {tuple(other.b.shape)} and "
            f"{tuple(other.a.shape)}, this one's {tuple(own.b.shape)} and {tuple(own.a.shape)}. "
            "Set merge: product."
        )
    for name, mine, theirs in (("A", own.a, other.a), ("B", own.b, other.b)):
        merged = (1 - weight) * mine + weight * theirs
        edits.tensors[f"{module}.lora_{name}.weight"] = merged

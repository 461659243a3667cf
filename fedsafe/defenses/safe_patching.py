"""SafePatching: a safety patch and an over-safety patch, each where it alone matters."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import (
    Adapter,
    Batch,
    Defended,
    DefenseCard,
    DefenseTask,
    ModelContext,
    Sample,
    defenses,
)
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.pair_filters import Filter
from fedsafe.errors import DataError
from fedsafe.lazy import torch
from fedsafe.safety_losses import IGNORED
from fedsafe.weights.edits import dare, set_difference, snip_scores

if TYPE_CHECKING:
    from torch import Tensor

Share = Annotated[float, Field(ge=0, le=1, description="Of each factor's entries, largest SNIP.")]
Steps = Annotated[int, Field(ge=1, description="Optimizer steps of the patch.")]


@defenses(
    "safe-patching",
    paper="Zhao et al., 2024 (2405.13820)",
    badge="simplified: patches of the LoRA factors and not of all weights; its code could not be "
    "had, and its shares and factors, in an appendix that was not read, are our choice; SNIP's "
    "scores are of the patched factors on the questions alone",
    card=DefenseCard(
        claim="Ascent on harmful answers patches safety, descent patches over-refusal, and the "
        "difference of their important weights keeps both and the skill.",
        needs=("gradients", "harmful answers"),
        cost="ascent_steps + descent_steps of training, and two gradients an example",
        nothing={"alpha": 0.0, "beta": 0.0},
    ),
)
def safe_patching(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    ascent_steps: Steps = 10,
    descent_steps: Steps = 10,
    ascent_rate: Annotated[float, Field(gt=0, description="Learning rate of the ascent.")] = 5e-4,
    descent_rate: Annotated[float, Field(gt=0, description="And of the descent.")] = 5e-4,
    keep: Annotated[
        float, Field(gt=0, le=1, description="Share of each patch that a random drop leaves.")
    ] = 0.5,
    safety_share: Share = 0.3,
    over_safety_share: Share = 0.3,
    alpha: Annotated[float, Field(ge=0, description="Factor on the safety patch.")] = 1.0,
    beta: Annotated[float, Field(ge=0, description="Factor on the over-safety patch.")] = 1.0,
    harmful: pair.Harmful = None,
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    examples: pair.Examples = 64,
    filter: Filter = (),
) -> Defended:
    """Add two patches of the adapter, each where SNIP calls it important and the other not.

    One is of gradient ascent on harmful answers, one of descent. Neither is kept.
    """
    start = context.adapter()
    samples = pair.HarmfulData(context, task, harmful, ask_unsafe, examples, filter).samples()
    generator = torch.Generator().manual_seed(context.rng.getrandbits(63))
    context.fit(samples, _ascent, steps=ascent_steps, learning_rate=ascent_rate)
    ascent, safety = context.adapter(), _scores(context, samples)
    context.put(start)
    context.fit(samples, steps=descent_steps, learning_rate=descent_rate)
    descent, over = context.adapter(), _scores(context, samples)
    patched = dict(start)
    for name in start:
        masks = (
            set_difference(safety[name], over[name], safety_share, over_safety_share),
            set_difference(over[name], safety[name], over_safety_share, safety_share),
        )
        for patch, factor, mask in zip((ascent, descent), (alpha, beta), masks, strict=True):
            if factor:
                kept = dare(patch[name] - start[name], 1 - keep, generator=generator)
                patched[name] = patched[name] + factor * kept * mask
    context.report("patched", examples=len(samples))
    return Defended(patched)


def _ascent(context: ModelContext, batch: Batch, _: int, /) -> "tuple[Tensor, float]":
    """Return the cross entropy with its sign turned."""
    summed, count = context.cross_entropy(batch)
    return -summed, count


def _questions(context: ModelContext, batch: Batch, _: int, /) -> "tuple[Tensor, float]":
    """Return the cross entropy of the prompts in place of the responses."""
    prompt = (batch.labels == IGNORED) & batch.attention_mask.bool()
    labels = torch.where(prompt, batch.input_ids, torch.full_like(batch.labels, IGNORED))
    return context.cross_entropy(Batch(batch.input_ids, batch.attention_mask, labels))


def _scores(context: ModelContext, samples: Sequence[Sample]) -> Adapter:
    """Return SNIP's scores of each adapter tensor, gradients taken an example at a time.

    An example whose prompt leaves no room for its response counts here as little as in training.
    """
    own = context.adapter()
    sums = {name: torch.zeros_like(tensor) for name, tensor in own.items()}
    for sample in samples:
        with suppress(DataError):
            for name, gradient in context.gradients([sample], _questions, batch_size=1).items():
                sums[name] += gradient.abs()
    return {name: snip_scores(tensor, sums[name]) for name, tensor in own.items()}

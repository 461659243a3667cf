"""Representation rerouting: the loss of circuit breakers over a model, and its target layers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsafe.contracts import Adapter, Batch, ModelContext
from fedsafe.errors import RunError
from fedsafe.lazy import torch
from fedsafe.safety_losses import breaker_loss, rerouting_coefficients, retain_loss, stacked

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Rerouting:
    """An objective: hidden states of harmful examples turn away, the batch's own stay.

    Attributes:
        before: The adapter whose hidden states are turned from, and kept.
        harmful: Batches of harmful examples, taken in turn.
        layers: Hidden states to turn; all of them are kept.
        alpha: Strength of both terms.
        clock: Step at which breaking has weight 0.
        relative: Whether a retained state's distance counts relative to its length.
        breaking: Mean positive cosine at the last step.
        retaining: Mean distance at the last step.
    """

    before: Adapter
    harmful: Sequence[Batch]
    layers: Sequence[int]
    alpha: float
    clock: int
    relative: bool = False
    breaking: float = float("nan")
    retaining: float = float("nan")

    def __call__(self, context: ModelContext, batch: Batch, step: int, /) -> "tuple[Tensor, float]":
        """Return the loss of an optimizer step, from 1, and 1."""
        broken = self.harmful[(step - 1) % len(self.harmful)]
        every = range(_depth(context) + 1)
        with context.reference(self.before):
            usual = stacked(context.hidden_states(batch, every), every)
            known = stacked(context.hidden_states(broken, self.layers), self.layers)
        kept = stacked(context.hidden_states(batch, every), every)
        turned = stacked(context.hidden_states(broken, self.layers), self.layers)
        mask = batch.attention_mask.to(kept.device)
        retaining = retain_loss(usual, kept, mask, relative=self.relative)
        breaking = breaker_loss(known, turned, broken.attention_mask.to(turned.device))
        self.breaking, self.retaining = float(breaking.detach()), float(retaining.detach())
        keep, turn = rerouting_coefficients(step - 1, self.alpha, self.clock)
        return keep * retaining + turn * breaking, 1.0


def nudged(adapter: Adapter, share: float, seed: int) -> "dict[str, Tensor]":
    """Return an adapter with noise of a share of each tensor's root mean square added.

    The cosine of a state with itself is at its largest, where its gradient is zero: from the very
    adapter that is turned from, no step would lead away.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, tensor in adapter.items():
        size = tensor.float().square().mean().sqrt()
        noise = torch.randn(tensor.shape, generator=generator)
        found[name] = tensor + share * size * noise
    return found


def target_layers(context: ModelContext, wanted: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the hidden states to turn, counted from 0, the embeddings.

    Without any wanted, those a third and two thirds of the way through the layers that the
    adapter can change.

    Raises:
        RunError: The adapter changes nothing there.
    """
    depth = _depth(context)
    blocks = [int(n) for name in context.trainable() for n in re.findall(r"\.(\d+)\.", name)[:1]]
    first = min(blocks, default=-1) + 1
    if not wanted:
        span = depth - first + 1
        return tuple(sorted({first - 1 + max(1, span * part // 3) for part in (1, 2)}))
    found = tuple(layer + depth + 1 if layer < 0 else layer for layer in wanted)
    for layer, named in zip(found, wanted, strict=True):
        if not first <= layer <= depth:
            raise RunError(
                f"layers holds {named}, and the adapter changes the hidden states {first} to "
                f"{depth} of this model (0 are the embeddings). Name some of those."
            )
    return found


def _depth(context: ModelContext) -> int:
    return int(context.model.config.num_hidden_layers)

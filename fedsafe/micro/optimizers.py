"""What the base models are trained with: Muon for the matrices, AdamW for the rest.

Muon is momentum whose matrices are made orthogonal (Jordan et al., 2024). `torch.optim.Muon`
works in bfloat16, which a CPU is slow at and rounds in its own way; this one stacks matrices.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration."""
ITERATIONS: Final = 5
MOMENTUM: Final = 0.95
RMS: Final = 0.2
"""Root mean square of an update at learning rate 1, about that of AdamW's."""
RISE: Final = 0.05
"""Share of the steps in which the learning rate rises."""


class Muon(torch.optim.Optimizer):
    """Update matrices by their orthogonalised Nesterov momentum."""

    def __init__(self, matrices: Iterable[torch.nn.Parameter], lr: float) -> None:
        """Take the matrices, each of two dimensions."""
        super().__init__(list(matrices), {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes.setdefault(weight.shape, []).append(weight)
            for (rows, columns), found in shapes.items():
                momentum = torch.stack([self._momentum(weight) for weight in found])
                updates = orthogonal(momentum) * (RMS * math.sqrt(max(rows, columns)))
                for weight, update in zip(found, updates, strict=True):
                    weight.sub_(update, alpha=group["lr"])

    def _momentum(self, weight: torch.nn.Parameter) -> torch.Tensor:
        state = self.state[weight]
        kept: torch.Tensor = state.setdefault("momentum", torch.zeros_like(weight))
        gradient = weight.grad if weight.grad is not None else torch.zeros_like(weight)
        kept.lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(kept, MOMENTUM)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Return matrices (n, rows, columns) with singular values near 1 and the same vectors."""
    tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if tall else matrices
    found = found / found.flatten(1).norm(dim=1).clamp_min(1e-7)[:, None, None]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = found @ found.mT
        found = a * found + (b * square + c * square @ square) @ found
    result: torch.Tensor = found.mT if tall else found
    return result


def optimizers(model: "LlamaForCausalLM", peak: float) -> "list[torch.optim.Optimizer]":
    """Return Muon for the layers' matrices (it needs half of the steps), AdamW for the rest."""
    matrices = [w for n, w in model.named_parameters() if w.ndim == 2 and "embed" not in n]
    rest = [w for n, w in model.named_parameters() if w.ndim != 2 or "embed" in n]
    return [
        Muon(matrices, lr=peak),
        torch.optim.AdamW(rest, lr=peak, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(step: int, total: int) -> float:
    """Return the share of the peak: a rise in the first steps, then half a cosine wave to 0."""
    rise = max(1, round(RISE * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / (total - rise + 1))

"""Muon: momentum whose matrices are made orthogonal (Jordan et al., 2024), in float32.

The base models need half the steps of AdamW with it. `torch.optim.Muon` works in bfloat16,
which a CPU is slow at and rounds in its own way; this one stacks matrices of one shape.
"""

import math
from collections.abc import Iterable

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration."""
ITERATIONS = 5
MOMENTUM = 0.95
RMS = 0.2
"""Root mean square of an update at learning rate 1, about that of AdamW's."""


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
        kept = state.setdefault("momentum", torch.zeros_like(weight))
        kept.lerp_(weight.grad, 1 - MOMENTUM)
        return torch.lerp(weight.grad, kept, MOMENTUM)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Return matrices (n, rows, columns) with singular values near 1 and the same vectors."""
    tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if tall else matrices
    found = found / found.flatten(1).norm(dim=1).clamp_min(1e-7)[:, None, None]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = found @ found.mT
        found = a * found + (b * square + c * square @ square) @ found
    return found.mT if tall else found

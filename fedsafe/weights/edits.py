"""Weight edits as formulas on matrices: projections, drops, masks, low-rank parts.

For defenses, and for filters of the aggregation that edit each update. Weights are (out, in);
a LoRA module changes its weight by ``scaling * b @ a`` with ``b`` (out, r), ``a`` (r, in).
Knows nothing of models.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

PLACES = 5
"""Decimals that Safe LoRA's public code keeps of a cosine."""
EXACT = 1024
"""Longest shorter side of a matrix that is decomposed exactly."""
Projector = Annotated[
    Literal["paper", "orthogonal"],
    Field(
        description="C of an alignment V: paper, V V^T / ||V||_F, which rescales; orthogonal, onto "
        "the columns of V, which is no restriction where V has full rank."
    ),
]


def safe_projection(b: "Tensor", a: "Tensor", alignment: "Tensor") -> "tuple[Tensor, float]":
    """Return Safe LoRA's projected factor ``C b``, and cosine(C b a, b a) rounded to 5 places.

    C = V V^T / ||V||_F with V the alignment (out, in): aligned minus unaligned weight. C is no
    exact projector: it rescales, too. It is never formed. Hsu et al., *Safe LoRA*, NeurIPS 2024.

    Returns:
        ``b`` itself and 1.0 where V is zero, which says nothing. The cosine is 0.0, as PyTorch's
        is, where the change or its projection is zero: such modules are among the least aligned.
    """
    if not bool(alignment.any()):
        return b, 1.0
    v, old, inner = alignment.double(), b.double(), a.double()
    projected = v @ (v.T @ old) / v.norm().clamp_min(1e-30)
    gram = inner @ inner.T
    product = ((projected.T @ old) * gram).sum()
    sizes = ((projected.T @ projected) * gram).sum() * ((old.T @ old) * gram).sum()
    cosine = float(product / sizes.sqrt()) if float(sizes) > 0 else 0.0
    return projected.to(b.dtype), round(cosine, PLACES)


def projector(alignment: "Tensor", kind: Literal["paper", "orthogonal"]) -> "Tensor":
    """Return a matrix L (out, k) with C = L L^T, the projection onto an alignment (`Projector`).

    C itself is (out, out) and is never formed: ``L @ (L.T @ b)``. Yang et al., *AsFT*, AAAI 2026.

    Args:
        alignment: V (out, in), aligned minus unaligned weight.
        kind: paper: V / sqrt(||V||_F); orthogonal: V's left singular vectors, zero where V is.
    """
    if kind == "paper":
        scaled: Tensor = alignment / alignment.norm().clamp_min(1e-30).sqrt()
        return scaled
    left, sizes, _ = torch.linalg.svd(alignment.double(), full_matrices=False)
    floor = sizes[:1] * max(alignment.shape) * torch.finfo(torch.float32).eps
    basis: Tensor = left[:, sizes > floor].to(alignment.dtype)
    return basis


def least_aligned(
    cosines: Mapping[str, float], select: Literal["threshold", "number"], value: float
) -> list[str]:
    """Return the modules that Safe LoRA projects: those with cosines of at most a threshold.

    Args:
        cosines: Of each module.
        select: threshold: ``value`` is it; number: it is the ``value``-th smallest cosine, so that
            ties project more.
        value: The threshold, or a number of modules.
    """
    if select == "number":
        if value < 1 or not cosines:
            return []
        value = sorted(cosines.values())[: int(value)][-1]
    return [name for name, cosine in cosines.items() if cosine <= value]


def dare(
    change: "Tensor",
    rate: float,
    *,
    rescale: bool = True,
    dropped: "Tensor | None" = None,
    generator: "torch.Generator | None" = None,
) -> "Tensor":
    """Drop entries at random and rescale the rest by 1 / (1 - rate).

    Yu et al., *Language Models are Super Mario*, ICML 2024.

    Args:
        change: Fine-tuned minus base, any shape.
        rate: Probability that an entry is dropped, below 1.
        rescale: Whether the others grow for it.
        dropped: Mask of what is dropped, in place of a draw.
        generator: Of the draw.
    """
    if dropped is None:
        dropped = torch.rand(change.shape, generator=generator) < rate
    kept = change * (1 - dropped.to(change.dtype))
    return kept / (1 - rate) if rescale else kept


def drop_smallest(change: "Tensor", rate: float, *, rescale: bool = False) -> "Tensor":
    """Drop the int(size * rate) smallest magnitudes, and all ties with the last of them."""
    count = int(change.numel() * rate)
    sizes = change.abs()
    kept = change if count == 0 else change * (sizes > sizes.flatten().kthvalue(count).values)
    return kept / (1 - rate) if rescale else kept


def wanda_mask(weight: "Tensor", norms: "Tensor", share: float) -> "Tensor":
    """Return Antidote's mask (out, in), true at the harmful: each row's largest Wanda scores.

    The score is ``|weight| * norms``. In each row all but the int(columns * (1 - share)) smallest
    are harmful, ties by column. Huang et al., *Antidote*, ICML 2025.

    Args:
        weight: Of a factor or of a product, (out, in).
        norms: Of each input (in,), over harmful examples: root of the mean over examples of the
            sum over tokens of its square.
        share: The public code's ``dense_ratio``.
    """
    scores = weight.abs() * norms
    kept = int(weight.shape[1] * (1 - share))
    order = scores.sort(dim=1, stable=True).indices
    return torch.ones_like(weight, dtype=torch.bool).scatter(1, order[:, :kept], value=False)


def snip_scores(weight: "Tensor", gradients: "Tensor") -> "Tensor":
    """Return SNIP's scores: |weight| times the sum over examples of |gradient of its mean loss|."""
    return weight.abs() * gradients


def largest(scores: "Tensor", share: float) -> "Tensor":
    """Return a mask of the int(share * size) largest scores of the whole matrix."""
    flat = scores.flatten()
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[flat.topk(int(share * flat.numel())).indices] = True
    return mask.view(scores.shape)


def set_difference(own: "Tensor", other: "Tensor", share: float, other_share: float) -> "Tensor":
    """Return a mask of what is among the largest of one score and not of another.

    Wei et al., ICML 2024, with safety as ``own`` and utility as ``other``.
    """
    return largest(own, share) & ~largest(other, other_share)


def low_rank(matrix: "Tensor", rank: int) -> "tuple[Tensor, Tensor]":
    """Return factors b (out, r), a (r, in) of the best approximation of a rank, evenly scaled.

    Exact to a shorter side of 1,024; above it a randomized decomposition of a fixed seed.
    """
    rank = min(rank, *matrix.shape)
    if min(matrix.shape) <= EXACT:
        left, sizes, right = torch.linalg.svd(matrix.double(), full_matrices=False)
        right = right.T
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            left, sizes, right = torch.svd_lowrank(matrix.float(), q=rank + 16, niter=6)
    root = sizes[:rank].sqrt()
    return (left[:, :rank] * root).to(matrix.dtype), (right[:, :rank] * root).T.to(matrix.dtype)


def extrapolation(alignment: "Tensor", rank: int) -> "Tensor":
    """Return the part of an alignment in its ``rank`` largest left singular directions (LoX)."""
    b, a = low_rank(alignment, rank)
    return b @ a

"""Losses, labels and schedules of training-based defenses, as formulas on tensors and texts.

DeRTa's two kinds of rows, the constrained first tokens of deep alignment, and the rerouting of
circuit breakers. For defenses and objectives. Knows nothing of models.
"""

import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""The label that takes no loss."""
EVERY = 3
"""Of so many harmful prefixes, DeRTa's public code leaves the first empty."""
SHORTEST = 3
"""Words of the shortest harmful reply that DeRTa cuts a prefix from."""

ShareOf = Literal["reply", "row"]


def harmful_prefixes(replies: Sequence[str], rng: random.Random) -> "list[str | None]":
    """Return the beginning of each harmful reply that a refusal is to follow (DeRTa).

    Cut after 1 to ``words - 2`` words, drawn; the first of every three is empty. None where a
    reply has less than three words. Yuan et al., *Refuse Whenever You Feel Unsafe*, ACL 2025.
    """
    found: list[str | None] = []
    for index, reply in enumerate(replies):
        ends = [word.end() for word in re.finditer(r"\S+", reply)]
        if len(ends) < SHORTEST:
            found.append(None)
            continue
        cut = rng.randint(1, len(ends) - 2)
        found.append(reply[: ends[cut - 1]] if index % EVERY else "")
    return found


def transition_labels(labels: "Tensor", refusal: int, kept: "Tensor | None" = None) -> "Tensor":
    """Return labels (t,) that ask for the refusal token at every labelled position (DeRTa).

    Args:
        labels: int64 (t,) of a harmful reply, -100 where no loss is taken; the token that ends
            the reply is labelled as well.
        refusal: Id of the one token that a refusal begins with.
        kept: Positions whose label is kept; None: all. A position without a label gets none.
    """
    found = torch.where(labels == IGNORED, labels, torch.full_like(labels, refusal))
    if kept is None:
        return found
    there = torch.zeros_like(labels, dtype=torch.bool)
    there[kept] = True
    return found.masked_fill(~there, IGNORED)


def kept_positions(order: Sequence[int], share: float) -> list[int]:
    """Return the last ``ceil(share * n)`` (at least one) of n positions in a drawn order.

    Those are the ones that DeRTa's public 5 % script keeps, of all positions of a padded row.
    """
    count = max(1, math.ceil(share * len(order) - 1e-9))
    return list(order[len(order) - count :])


def thin_transitions(
    labels: "Tensor", refusal: int, share: float, of: ShareOf, rng: random.Random
) -> "Tensor":
    """Return labels (b, t) whose rows of the refusal token alone keep a share of their labels.

    Args:
        labels: int64 (b, t).
        refusal: Id of the refusal token; a row that has no other label is a transition.
        share: In (0, 1]; 1 keeps all.
        of: ``reply``: of the labelled positions; ``row``: of all positions, prompt and padding
            among them, as the public code does, so that a row may keep no label at all.
        rng: Draws the positions.
    """
    if share >= 1:
        return labels
    found = labels.clone()
    for row, old in enumerate(labels):
        labelled = (old != IGNORED).nonzero()[:, 0].tolist()
        if not labelled or any(int(old[place]) != refusal for place in labelled):
            continue
        places = labelled if of == "reply" else list(range(len(old)))
        kept = kept_positions(rng.sample(places, len(places)), share)
        found[row] = transition_labels(old, refusal, torch.tensor(kept))
    return found


def constrained_losses(log_ratios: "Tensor", betas: "Tensor") -> "Tensor":
    """Return the token-wise constrained loss (k,): ``-2/beta * logsigmoid(beta * log ratio)``.

    Qi et al., *Safety Alignment Should Be Made More Than Just a Few Tokens Deep*, ICLR 2025.

    Args:
        log_ratios: (k,) log-probability of each label token, less that under the aligned model.
        betas: (k,) strength at each token, at least 0. Towards 0 the gradient becomes that of
            cross entropy, which is what is taken at 0 (less the aligned model's).
    """
    safe = betas.clamp(min=1e-8)
    constrained = -2 / safe * torch.nn.functional.logsigmoid(safe * log_ratios)
    return torch.where(betas > 0, constrained, -log_ratios)


def positions_in_reply(labels: "Tensor") -> "Tensor":
    """Return the place (k,) of each of the k labels (b, t) in its row, from 0, row by row."""
    wanted = labels != IGNORED
    return (wanted.cumsum(dim=1) - 1)[wanted]


def rerouting_coefficients(done: int, alpha: float, clock: int) -> tuple[float, float]:
    """Return the coefficients of retaining and of breaking at the next step.

    ``alpha * p`` and ``alpha * (1 - p)`` with ``p = (done + 1) / clock``: the public code raises
    its counter first, and its clock has 300 steps however many are taken.

    Args:
        done: Steps done before.
        alpha: Strength.
        clock: Step at which retaining has all the weight; breaking is negative beyond.
    """
    progress = (done + 1) / clock
    return alpha * progress, alpha * (1 - progress)


def retain_loss(
    original: "Tensor", adapted: "Tensor", mask: "Tensor", *, relative: bool = False
) -> "Tensor":
    """Return the mean distance of hidden states over all layers and positions.

    Args:
        original: (layers, b, t, h) of the model before.
        adapted: Of the model in training, likewise.
        mask: (b, t), 0 at padding: such a position counts as distance 0.
        relative: Divide each distance by the length of the original state.
    """
    apart = (_exact(adapted) - _exact(original)) * mask[None, :, :, None].to(adapted.device)
    distance: Tensor = torch.linalg.vector_norm(apart, dim=-1)
    if relative:
        length = torch.linalg.vector_norm(_exact(original), dim=-1)
        distance = distance / length.clamp_min(torch.finfo(length.dtype).tiny)
    return distance.mean()


def breaker_loss(original: "Tensor", adapted: "Tensor", mask: "Tensor") -> "Tensor":
    """Return the mean positive cosine of hidden states over layers and unmasked positions.

    Zou et al., *Improving Alignment and Robustness with Circuit Breakers*, NeurIPS 2024.

    Args:
        original: (layers, b, t, h) of the model before, at the target layers.
        adapted: Of the model in training, likewise.
        mask: (b, t), 0 at padding.
    """
    cosine = torch.nn.functional.cosine_similarity(_exact(original), _exact(adapted), dim=-1)
    there = mask.to(cosine.dtype).expand_as(cosine)
    return (cosine.relu() * there).sum() / there.sum().clamp(min=1)


def _exact(states: "Tensor") -> "Tensor":
    """Return states in float32 at least.

    In bfloat16 the cosine of states that are nearly alike is 1, and its gradient is lost.
    """
    return states.float() if states.dtype in (torch.bfloat16, torch.float16) else states


def stacked(states: "Mapping[int, Tensor]", layers: Sequence[int]) -> "Tensor":
    """Return hidden states of some layers as one tensor (layers, b, t, h)."""
    return torch.stack([states[layer] for layer in layers])

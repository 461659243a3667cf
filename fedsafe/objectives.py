"""Training losses: cross entropy, preference (DPO), constrained first tokens, a proximal term.

Each is ``(ModelContext, Batch, step, /, *, settings) -> (sum, count)``. The trait
``per-token`` promises that the loss is a sum over label tokens whose count is the sum of
their weights, so that a batch may be cut into passes of like length.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.contracts import Adapter, Batch, ModelContext, Objective, objectives
from fedsafe.errors import DataError
from fedsafe.lazy import torch
from fedsafe.safety_losses import constrained_losses, positions_in_reply

if TYPE_CHECKING:
    from torch import Tensor

Kind = Annotated[
    Literal["sigmoid", "hinge", "ipo", "robust"], Field(description="Loss of a pair's margin.")
]

FIRST_BETAS = (0.5, 2.0, 2.0, 2.0, 2.0)
LATER_BETA = 0.1
Betas = Annotated[
    tuple[Annotated[float, Field(ge=0)], ...],
    Field(description="How strongly each of the first tokens of a reply is held."),
]
Later = Annotated[float, Field(ge=0, description="The same for all tokens after those.")]


@objectives("supervised", traits={"per-token"})
def supervised(context: ModelContext, batch: Batch, step: int, /) -> "tuple[Tensor, float]":
    """Cross entropy of the label tokens, each with its weight.

    Returns:
        The weighted sum, a scalar, and the sum of the weights.
    """
    return context.cross_entropy(batch)


@objectives("preference", paper="Rafailov et al., NeurIPS 2023 (DPO)")
def preference(
    context: ModelContext,
    batch: Batch,
    step: int,
    /,
    *,
    beta: Annotated[float, Field(gt=0, description="Strength of the tie to the reference.")] = 0.1,
    kind: Kind = "sigmoid",
    label_smoothing: Annotated[
        float, Field(ge=0, lt=0.5, description="Probability that a label is wrong.")
    ] = 0.0,
    reverse: Annotated[bool, Field(description="Prefer the rejected response.")] = False,
) -> "tuple[Tensor, float]":
    """Direct preference optimization against the base model with the adapter off.

    Returns:
        The sum over the pairs, a scalar, and the number of pairs.

    Raises:
        DataError: The samples have no rejected responses.
    """
    if batch.rejected is None:
        raise DataError(
            "The preference objective compares two responses, and these samples have one. Give "
            "each sample a rejected response."
        )
    margin = _preferred(context, batch, batch.rejected, per_token=kind == "ipo")
    with context.reference():
        usual = _preferred(context, batch, batch.rejected, per_token=kind == "ipo")
    gained = (usual - margin) if reverse else (margin - usual)
    losses = preference_losses(gained, beta=beta, kind=kind, label_smoothing=label_smoothing)
    return losses.sum(), float(len(losses))


def _preferred(
    context: ModelContext, chosen: Batch, rejected: Batch, *, per_token: bool
) -> "Tensor":
    """Return how much more probable the chosen responses are (b,), as logarithms."""
    found = []
    for batch in (chosen, rejected):
        total = context.log_probabilities(batch)
        tokens = (batch.labels[:, 1:] != -100).sum(dim=1).clamp(min=1).to(total.device)
        found.append(total / tokens if per_token else total)
    return found[0] - found[1]


def preference_losses(
    margin: "Tensor", *, beta: float, kind: Kind = "sigmoid", label_smoothing: float = 0.0
) -> "Tensor":
    """Return the loss (b,) of each pair.

    Args:
        margin: (b,) how much more than the reference the policy prefers the chosen response,
            in log-probabilities summed over the response (for ipo: averaged over its tokens).
        beta: Strength of the tie to the reference.
        kind: ``sigmoid`` (DPO; conservative DPO with label smoothing), ``hinge`` (Zhao et al.,
            SLiC), ``ipo`` (Azar et al., AISTATS 2024), ``robust``
            (Chowdhury et al., ICML 2024).
        label_smoothing: Probability that a label is wrong; of sigmoid and robust.
    """
    logsigmoid = torch.nn.functional.logsigmoid
    if kind == "hinge":
        return torch.relu(1 - beta * margin)
    if kind == "ipo":
        return (margin - 1 / (2 * beta)).square()
    right, wrong = -logsigmoid(beta * margin), -logsigmoid(-beta * margin)
    if kind == "robust":
        mixed = (1 - label_smoothing) * right - label_smoothing * wrong
        return mixed / (1 - 2 * label_smoothing)
    return (1 - label_smoothing) * right + label_smoothing * wrong


@objectives(
    "constrained-first-tokens",
    paper="Qi et al., Safety Alignment Should Be Made More Than Just a Few Tokens Deep, ICLR 2025",
)
def constrained_first_tokens(
    context: ModelContext,
    batch: Batch,
    step: int,
    /,
    *,
    betas: Betas = FIRST_BETAS,
    later: Later = LATER_BETA,
) -> "tuple[Tensor, float]":
    """Cross entropy that may move the first tokens of a reply little from the aligned model's.

    The aligned model is the base model with the adapter off.

    Returns:
        The sum over label tokens, a scalar, and their number; the weights of labels are left out.
    """
    return held_to(None, betas, later)(context, batch, step)


def held_to(anchor: "Adapter | None", betas: Sequence[float], later: float) -> Objective:
    """Return the constrained loss of Qi et al. whose aligned model has a given adapter.

    Args:
        anchor: Adapter of the aligned model; None: it is the base model.
        betas: Strength at each of the first tokens of a reply; 0 is plain cross entropy.
        later: Strength at all tokens after those.
    """

    def objective(context: ModelContext, batch: Batch, step: int, /) -> "tuple[Tensor, float]":
        found = _label_log_probabilities(context, batch)
        with context.reference(anchor):
            usual = _label_log_probabilities(context, batch)
        places = positions_in_reply(batch.labels[:, 1:]).to(found.device)
        table = torch.tensor([*betas, later], device=found.device)
        losses = constrained_losses(found - usual, table[places.clamp(max=len(betas))])
        return losses.sum(), float(len(losses))

    return objective


def _label_log_probabilities(context: ModelContext, batch: Batch) -> "Tensor":
    """Return the log-probability (k,) of each label token."""
    logits, labels = context.logits(batch)
    return -torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")


def proximal(objective: Objective, anchor: "Mapping[str, Tensor]", strength: float) -> Objective:
    """Return an objective with ``strength / 2 * ||adapter - anchor||^2`` added to its mean.

    Li et al., *Federated Optimization in Heterogeneous Networks*, MLSys 2020 (FedProx).

    Args:
        objective: What the term is added to.
        anchor: Adapter tensors by name, such as those that the round began with.
        strength: Factor, at least 0.
    """

    def with_term(context: ModelContext, batch: Batch, step: int, /) -> "tuple[Tensor, float]":
        total, count = objective(context, batch, step)
        distance = torch.zeros((), device=total.device)
        for name, parameter in context.trainable().items():
            distance = distance + (parameter - anchor[name].to(parameter.device)).square().sum()
        return total + count * strength / 2 * distance, count

    return with_term

"""Training losses: next-token cross entropy, preference (DPO), and a proximal term.

Each is ``(ModelContext, Batch, step, /, *, settings) -> (sum, count)``. The trait
``per-token`` promises that the loss is a sum over label tokens whose count is the sum of
their weights, so that a batch may be cut into passes of like length.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Batch, ModelContext, Objective, objectives
from fedsafe.errors import DataError
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


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
    label_smoothing: Annotated[
        float, Field(ge=0, lt=0.5, description="Probability that a label is wrong (cDPO).")
    ] = 0.0,
    reverse: Annotated[bool, Field(description="Prefer the rejected response.")] = False,
) -> "tuple[Tensor, float]":
    """Direct preference optimization against the base model with the adapter off.

    The loss of a pair is ``-log sigmoid(beta * margin)``, where the margin is how much
    more the policy than the reference prefers the chosen response, in summed
    log-probabilities.

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
    margin = context.log_probabilities(batch) - context.log_probabilities(batch.rejected)
    with context.reference():
        usual = context.log_probabilities(batch) - context.log_probabilities(batch.rejected)
    logits = beta * (margin - usual) * (-1.0 if reverse else 1.0)
    losses = -torch.nn.functional.logsigmoid(logits) * (1 - label_smoothing)
    if label_smoothing:
        losses = losses - torch.nn.functional.logsigmoid(-logits) * label_smoothing
    return losses.sum(), float(len(losses))


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

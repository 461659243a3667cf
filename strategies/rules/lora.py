"""LoRA-aware averaging (FlexLoRA, FFA-LoRA): the mean of products B A, not of A and B apart.

The mean of products is not the product of means. Wang et al., *FLoRA*, NeurIPS 2024, keep
the exact mean at n times the rank; here it is brought back to the rank by its best
approximation, as in Bai et al., *FlexLoRA*, NeurIPS 2024. Sun et al., *Improving LoRA in
Privacy-preserving Federated Learning*, ICLR 2024 (FFA-LoRA), freeze A instead.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, filters, rules
from fedsafe.errors import ConfigError
from fedsafe.lazy import torch
from strategies.checks import need_model, require
from strategies.kernels.update_matrix import Rows
from strategies.pipeline import build

if TYPE_CHECKING:
    from torch import Tensor

_A, _B = "lora_A", "lora_B"


@rules("lora-product", paper="Bai et al., NeurIPS 2024", traits={"mixing", "weighted", "model"})
def lora_product(
    updates: Updates,
    state: State,
    /,
    *,
    rank: Annotated[int, Field(ge=1, description="Rank of the adapter, r.")] = 8,
    by: Annotated[
        str | dict[str, Any],
        Field(description="Rule, with settings if any, whose influence is the weights."),
    ] = "mean",
) -> Aggregate:
    """Average the products B A of the clients' adapters, and factor the mean at rank r.

    Tensors are paired by name, ``lora_A`` with ``lora_B``; others are averaged as they
    are. Of all factors of the best approximation those are taken whose A is nearest to
    the mean A, so that where all A are alike it is the mean of B. Zeros that pad an adapter
    of lower rank (``adapter.ranks``) change no product. Breakdown point as of the rule that
    weighs. (n, d) -> (d,), beside that rule two QR of (rows, n r) a pair.

    Raises:
        ConfigError: A tensor's size does not fit the rank.
    """
    rows = Rows.of(updates)
    require("lora-product", len(rows))
    if rows.mixing is not None:
        rows = Rows(rows.form())
        updates = replace(updates, matrix=rows.matrix, mixing=None)
    weighed = build(by)(updates, state)
    weights = weighed.influence.double().cpu()
    update, lost = weighed.update.clone(), 0.0
    if any(weights < 1):
        update = rows.combine(weights)
    for name, part in updates.blocks.items():
        partner = updates.blocks.get(name.replace(_A, _B))
        if _A not in name or partner is None:
            continue
        model = need_model("lora-product", updates)
        a = _factors(rows, model, part, (rank, -1), name)
        b = _factors(rows, model, partner, (-1, rank), name)
        new_a, new_b, share = _average(a, b, weights, rank)
        update[part] = (new_a - a[-1]).flatten().to(update)
        update[partner] = (new_b - b[-1]).flatten().to(update)
        lost = max(lost, share)
    return Aggregate(update, weighed.influence, weighed.state, {"lost": lost})


@filters("freeze", paper="Sun et al., ICLR 2024", traits={"translation"})
def freeze(
    updates: Updates,
    /,
    *,
    names: Annotated[
        str, Field(description="Tensors with this in their name stay as they are.")
    ] = _A,
) -> Updates:
    """Ignore what clients did to some tensors: A, so that the mean of B is exact (FFA).

    Clients should not train them either, which is their setting; a copy of the updates in
    memory. (n, d) -> (n, d).
    """
    kept = updates.matrix.detach().float().clone()
    for name, part in updates.blocks.items():
        if names in name:
            kept[:, part] = 0.0
    return replace(updates, matrix=kept)


def _factors(
    rows: Rows, model: "Tensor", part: slice, shape: tuple[int, int], name: str
) -> "Tensor":
    """Return every client's factor, then the one they were sent, float64 (n + 1, ., .)."""
    rank = max(shape)
    if (part.stop - part.start) % rank:
        raise ConfigError(
            f"Rule 'lora-product' cannot cut the {part.stop - part.start} values of '{name}' "
            f"into rank {rank}. Set rank to that of the adapter."
        )
    changes = rows.matrix[:, part].double().cpu()
    sent = model[part].double().cpu()
    factors = torch.cat([sent + changes, sent[None]])
    return factors.reshape(len(factors), *shape)


def _average(
    a: "Tensor", b: "Tensor", weights: "Tensor", rank: int
) -> "tuple[Tensor, Tensor, float]":
    """Return A and B of the weighted mean of products, and the share of it that is lost.

    What the weights lack of one is the weight of the model itself.
    """
    weights = torch.cat([weights, (1 - weights.sum()).clamp(min=0)[None]])
    left, left_core = torch.linalg.qr((weights[:, None, None] * b).permute(1, 0, 2).flatten(1))
    right, right_core = torch.linalg.qr(a.flatten(0, 1).T)
    u, values, v = torch.linalg.svd(left_core @ right_core.T, full_matrices=False)
    mean_a = (weights[:, None, None] * a).sum(dim=0)
    total = values.square().sum()
    if total == 0:
        return mean_a, torch.zeros_like(b[0]), 0.0
    lost = float(values[rank:].square().sum() / total) ** 0.5
    new_b = left @ (u[:, :rank] * values[:rank])
    new_a = v[:rank] @ right.T
    turn = mean_a @ new_a.T
    if torch.linalg.cond(turn) < 1e4:
        new_a, new_b = turn @ new_a, torch.linalg.solve(turn, new_b, left=False)
    return new_a, new_b, lost

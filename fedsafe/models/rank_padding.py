"""Heterogeneous LoRA ranks: truncate to a lower rank, zero-padded to common shapes.

What a client cuts off is zero in both factors of a pair; so it gets no gradient, is zero
after training as well, and travels as the zeros that pad it. Cho et al., *Heterogeneous
LoRA for Federated Fine-tuning of On-device Foundation Models*, EMNLP 2024 (rows); Bai et
al., *Federated Fine-tuning of Large Language Models under Heterogeneous Tasks and Client
Resources*, NeurIPS 2024 (svd).
"""

from collections.abc import Mapping
from typing import Literal

from fedsafe.lazy import torch
from fedsafe.models.adapters import Tensors

Cut = Literal["rows", "svd"]
_A, _B = "lora_A", "lora_B"


def cut(adapter: Mapping[str, "torch.Tensor"], rank: int, how: Cut) -> Tensors:
    """Return an adapter of at most a rank, float32, in the shapes of the one given.

    Args:
        adapter: Tensors by name, ``lora_A`` (r, in) in pairs with ``lora_B`` (out, r); others
            stay as they are.
        rank: Components that are kept of each pair; a pair of no more is kept whole.
        how: ``rows`` keeps the first rows of A and columns of B. ``svd`` keeps the best
            approximation of B A, in those factors whose A is nearest to the first rows
            of the A given.
    """
    found = dict(adapter)
    for name, a in adapter.items():
        partner = name.replace(_A, _B)
        if _A not in name or partner not in adapter or len(a) <= rank:
            continue
        b = adapter[partner]
        kept_a, kept_b = (a[:rank], b[:, :rank]) if how == "rows" else _best(a, b, rank)
        found[name], found[partner] = torch.zeros_like(a), torch.zeros_like(b)
        found[name][:rank], found[partner][:, :rank] = kept_a, kept_b
    return found


def _best(a: "torch.Tensor", b: "torch.Tensor", rank: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the factors (rank, in) and (out, rank) of the best approximation of B A."""
    rows, core = torch.linalg.qr(a.double().T)
    u, values, v = torch.linalg.svd(b.double() @ core.T, full_matrices=False)
    kept_a, kept_b = v[:rank] @ rows.T, u[:, :rank] * values[:rank]
    turn = a[:rank].double() @ kept_a.T
    if torch.linalg.cond(turn) < 1e4:
        kept_a, kept_b = turn @ kept_a, torch.linalg.solve(turn, kept_b, left=False)
    return kept_a, kept_b

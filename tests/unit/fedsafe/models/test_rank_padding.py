"""Adapters of lower rank: what is kept, what is zero, and what rules make of them."""

import pytest
import torch

from fedsafe.contracts import Updates
from fedsafe.models.rank_padding import Cut, cut
from strategies import build

A, B = "layer.lora_A.weight", "layer.lora_B.weight"


def adapter_of(rank: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        A: torch.randn(rank, 12, generator=generator),
        B: torch.randn(9, rank, generator=generator),
        "layer.bias": torch.ones(3),
    }


def test_rows_keep_the_first_components() -> None:
    full = adapter_of(4)
    found = cut(full, 2, "rows")
    assert torch.equal(found[A][:2], full[A][:2])
    assert torch.equal(found[B][:, :2], full[B][:, :2])
    assert not found[A][2:].any()
    assert not found[B][:, 2:].any()


def test_svd_keeps_the_best_approximation_of_the_product() -> None:
    full = adapter_of(4)
    found = cut(full, 2, "svd")
    u, values, v = torch.linalg.svd(full[B] @ full[A], full_matrices=False)
    best = u[:, :2] * values[:2] @ v[:2]
    assert torch.allclose(found[B] @ found[A], best, atol=1e-5)
    assert not found[A][2:].any()
    assert not found[B][:, 2:].any()


def test_fresh_adapter_keeps_its_first_rows_either_way() -> None:
    """B is zero then, and so is the product: A must stay alive."""
    fresh = {**adapter_of(4), B: torch.zeros(9, 4)}
    one, other = cut(fresh, 2, "rows"), cut(fresh, 2, "svd")
    assert torch.allclose(one[A], other[A], atol=1e-6)
    assert not other[B].any()


@pytest.mark.parametrize("how", ["rows", "svd"])
def test_what_is_no_larger_stays_as_it_is(how: Cut) -> None:
    full = adapter_of(2)
    found = cut(full, 2, how)
    assert all(torch.equal(found[name], tensor) for name, tensor in full.items())
    assert torch.equal(cut(adapter_of(4), 2, how)["layer.bias"], torch.ones(3))


def test_adapter_that_was_cut_is_not_changed() -> None:
    full = adapter_of(4)
    cut(full, 1, "svd")["layer.lora_A.weight"].add_(1)
    assert all(torch.equal(full[name], tensor) for name, tensor in adapter_of(4).items())


def test_products_of_unlike_ranks_are_averaged_exactly() -> None:
    """Two clients of rank 1 fit into a server's rank 2: nothing of their mean is lost."""
    sent, clients = adapter_of(2), [cut(adapter_of(2, seed), 1, "svd") for seed in (1, 2)]
    model, *rows = (torch.cat([one[A].flatten(), one[B].flatten()]) for one in (sent, *clients))
    updates = Updates(
        torch.stack(rows) - model,
        torch.full((2,), 0.5),
        blocks={A: slice(0, 24), B: slice(24, 42)},
        model=model,
    )
    found = model + build({"name": "lora-product", "rank": 2})(updates).update
    product = found[24:].view(9, 2) @ found[:24].view(2, 12)
    expected = torch.stack([one[B] @ one[A] for one in clients]).mean(dim=0)
    assert torch.allclose(product, expected, atol=1e-4)

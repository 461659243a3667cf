import pytest
import torch

from fedsafe.errors import ConfigError
from strategies import aggregate, build
from tests.properties.rounds import honest, round_of

RANK, IN, OUT = 2, 7, 5
BLOCKS = {
    "m.lora_A.weight": slice(0, 14),
    "m.lora_B.weight": slice(14, 24),
    "head": slice(24, 27),
}


def product(flat):
    return flat[14:24].reshape(OUT, RANK) @ flat[:14].reshape(RANK, IN)


def a_round(n=5, seed=0, frozen=False, **changes):
    rows = 0.1 * honest(n, 27, seed=seed, shift=0)
    if frozen:
        rows[:, :14] = 0
    return round_of(rows, blocks=BLOCKS, **changes)


def test_one_client_is_taken_as_it_is():
    updates = a_round(1)
    found = build({"name": "lora-product", "rank": RANK})(updates)
    assert torch.allclose(found.update, updates.matrix[0], atol=1e-5)
    assert found.metrics["lost"] < 1e-6


def test_product_is_the_best_of_its_rank():
    updates = a_round()
    found = build({"name": "lora-product", "rank": RANK})(updates)
    mean = torch.stack([product(updates.model + row) for row in updates.matrix]).mean(dim=0)
    u, values, v = torch.linalg.svd(mean, full_matrices=False)
    best = u[:, :RANK] * values[:RANK] @ v[:RANK]
    assert torch.allclose(product(updates.model + found.update), best, atol=1e-5)
    assert torch.allclose(found.update[24:], updates.matrix[:, 24:].mean(dim=0), atol=1e-6)
    lost = (values[RANK:].square().sum() / values.square().sum()).sqrt()
    assert found.metrics["lost"] == pytest.approx(float(lost), abs=1e-5)


def test_where_a_is_frozen_it_is_the_mean():
    updates = a_round(frozen=True)
    found = build({"name": "lora-product", "rank": RANK})(updates)
    assert torch.allclose(found.update, updates.matrix.mean(dim=0), atol=1e-5)


def test_weights_are_the_influence_of_any_rule():
    updates = a_round(7)
    krum = build("krum")(updates)
    found = build({"name": "lora-product", "rank": RANK, "by": {"name": "krum", "byzantine": 1}})(
        updates
    )
    assert torch.equal(found.influence, krum.influence)
    assert torch.allclose(found.update, krum.update, atol=1e-5)


def test_missing_weight_is_the_models():
    updates = a_round(3, weights=torch.zeros(3))
    found = build({"name": "lora-product", "rank": RANK})(updates)
    assert torch.allclose(found.update, torch.zeros(27), atol=1e-5)


def test_where_all_products_are_zero_a_is_the_mean():
    updates = a_round(3, model=torch.zeros(27))
    updates.matrix[:, 14:24] = 0
    found = build({"name": "lora-product", "rank": RANK})(updates)
    assert torch.allclose(found.update, updates.matrix.mean(dim=0), atol=1e-6)


def test_rank_must_fit():
    with pytest.raises(ConfigError, match="into rank 4"):
        build({"name": "lora-product", "rank": 4})(a_round())
    with pytest.raises(ConfigError, match="which was not given"):
        build({"name": "lora-product", "rank": RANK})(a_round(model=None))


def test_without_pairs_it_is_the_rule_that_weighs():
    rows = honest()
    assert torch.allclose(aggregate("lora-product", rows).update, rows.mean(dim=0), atol=1e-6)


def test_freeze_keeps_named_tensors():
    updates = a_round()
    found = build("mean", ["freeze"])(updates)
    assert not found.update[:14].any()
    assert torch.allclose(found.update[14:], updates.matrix[:, 14:].mean(dim=0), atol=1e-6)


def test_factors_are_balanced_by_nobody_where_the_mean_a_is_zero():
    updates = a_round(2, model=torch.zeros(27))
    updates.matrix[1, :24] = -updates.matrix[0, :24]
    found = build({"name": "lora-product", "rank": RANK})(updates)
    assert torch.allclose(product(found.update), product(updates.matrix[0]), atol=1e-6)

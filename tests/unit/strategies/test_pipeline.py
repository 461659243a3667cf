import subprocess
import sys

import numpy as np
import pytest
import torch

from fedsafe.contracts import Aggregate, filters, optimizers, rules
from fedsafe.errors import ConfigError, PluginError
from strategies import aggregate, build
from tests.properties.rounds import honest, round_of

FILTERS = [{"name": name} for name in filters]


def test_import_loads_nothing_heavy():
    code = (
        "import strategies, sys; "
        "print([m for m in ('torch', 'numba', 'sklearn', 'flwr') if m in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "[]"


@pytest.mark.parametrize("choice", FILTERS, ids=lambda choice: choice["name"])
@pytest.mark.parametrize("name", list(rules))
def test_every_filter_goes_before_every_rule(name, choice):
    n = 22  # halved by buckets, still enough
    pipeline, updates = build({"name": name, "filters": [choice]}), round_of(honest(n))
    if (name, choice["name"]) == ("foolsgold", "bucketing"):
        with pytest.raises(ConfigError, match="remembers clients"):
            pipeline(updates)
        return
    found = pipeline(updates)
    assert found.influence.shape == (n,)
    assert bool((found.influence >= 0).all())
    assert float(found.influence.sum()) <= 1 + 1e-5
    assert torch.isfinite(found.update).all()


@pytest.mark.parametrize(
    "choice", ["nnm", {"name": "bucketing", "size": 3}, {"name": "clip", "norm": 2.0}, "arc"]
)
def test_filtered_rows_are_what_the_rule_sees(choice):
    """Rules work on mixtures that nobody formed; formed by hand they give the same."""
    updates = round_of(honest(15, 80))
    (part,) = build("mean", [choice]).filters
    mixed = part(updates)
    formed = (mixed.mixing @ updates.matrix.double()).float()
    assert not torch.equal(formed[: len(updates.matrix)], updates.matrix)
    for name in ("median", "krum", "geometric-median", "bulyan", "dnc"):
        if name == "bulyan" and len(formed) < 7:
            continue
        by_hand = aggregate(name, formed, mixed.weights).update
        assert torch.allclose(build(name, [choice])(updates).update, by_hand, atol=1e-4)


def test_influence_is_that_of_the_clients_not_of_the_buckets():
    updates = round_of(honest(10))
    found = build("krum", [{"name": "bucketing", "size": 2}])(updates)
    assert found.influence.shape == (10,)
    assert sorted(found.influence.tolist())[-2:] == pytest.approx([0.5, 0.5])
    assert torch.allclose(found.influence @ updates.matrix, found.update, atol=1e-5)


def test_influence_of_a_linear_rule_gives_the_update():
    updates = round_of(honest(12))
    found = build("multi-krum", ["clip", "nnm", {"name": "bucketing", "size": 2}])(updates)
    assert torch.allclose(found.influence @ updates.matrix, found.update, atol=1e-5)


def test_bucketing_keeps_the_weighted_mean():
    weights = torch.rand(9) + 0.1
    updates = round_of(honest(9), weights=weights / weights.sum())
    plain, bucketed = build("mean")(updates), build("mean", ["bucketing"])(updates)
    assert torch.allclose(plain.update, bucketed.update, atol=1e-5)


def test_bucketing_shuffles_anew_each_round():
    first = build("krum", ["bucketing"])(round_of(honest(10)))
    again = build("krum", ["bucketing"])(round_of(honest(10)))
    second = build("krum", ["bucketing"])(round_of(honest(10), round=2))
    assert torch.equal(first.influence, again.influence)
    assert not torch.equal(first.influence, second.influence)


def test_noise_is_the_same_for_the_same_seed_and_round():
    made = [
        build("mean", [{"name": "noise", "scale": 1.0, "seed": seed}])(
            round_of(honest(), round=number)
        )
        for seed, number in ((0, 1), (0, 1), (1, 1), (0, 2))
    ]
    assert torch.equal(made[0].update, made[1].update)
    assert not torch.equal(made[0].update, made[2].update)
    assert not torch.equal(made[0].update, made[3].update)


@pytest.mark.parametrize("name", ["krum", "foolsgold", "fltrust", "alignins", "centered-clipping"])
def test_per_block_is_the_rule_on_each_block(name):
    rows = honest(9, 30)
    blocks = {"a.weight": slice(0, 10), "b.weight": slice(10, 30)}
    updates = round_of(rows, blocks=blocks)
    found = build(name, ["nnm"], per_block=True)(updates)
    second = build(name, ["nnm"], per_block=True)(updates, found.state)
    influence = torch.zeros(9)
    for key, part in blocks.items():
        alone = round_of(rows[:, part], model=updates.model[part], root=updates.root[part])
        once = build(name, ["nnm"])(alone)
        twice = build(name, ["nnm"])(alone, once.state)
        assert torch.allclose(found.update[part], once.update, atol=1e-5)
        assert torch.allclose(second.update[part], twice.update, atol=1e-5)
        assert all(f"rule/{key}/{name[5:]}" in found.state for name in once.state)
        influence += (part.stop - part.start) / 30 * once.influence
    assert torch.allclose(found.influence, influence, atol=1e-6)


def test_per_block_without_blocks_is_one_block():
    updates = round_of(honest())
    assert torch.equal(build("krum", per_block=True)(updates).update, build("krum")(updates).update)


@pytest.mark.parametrize("name", list(optimizers))
@pytest.mark.parametrize("rule", ["mean", "median"])
def test_optimizer_goes_on_top_of_any_rule(name, rule):
    pipeline = build({"name": rule, "optimizer": name})
    first = pipeline(round_of(honest()))
    second = pipeline(round_of(honest()), first.state)
    assert set(first.state) >= {"optimizer/first"}
    assert torch.isfinite(second.update).all()
    assert not torch.equal(first.update, second.update)
    assert torch.equal(first.influence, build(rule)(round_of(honest())).influence)


def test_momentum_adds_up():
    pipeline = build("mean", optimizer={"name": "fedavgm", "momentum": 0.5})
    plain = build("mean")(round_of(honest())).update
    first = pipeline(round_of(honest()))
    second = pipeline(round_of(honest()), first.state)
    assert torch.allclose(second.update, 1.5 * plain)


@pytest.mark.parametrize(
    ("choice", "listed", "least"),
    [
        ({"name": "krum", "byzantine": 2}, [], 7),
        ({"name": "krum", "byzantine": 1}, [{"name": "bucketing", "size": 3}], 13),
        ("mean", [{"name": "nnm", "byzantine": 4}], 5),
        ("mean", [], 1),
        ({"name": "dnc", "byzantine": 2, "filter_factor": 1.5}, [], 4),
    ],
)
def test_pipeline_knows_how_many_clients_it_needs(choice, listed, least):
    pipeline = build(choice, listed)
    assert pipeline.minimum == least
    pipeline(round_of(honest(least)))
    if least > 1:
        with pytest.raises(ConfigError):
            pipeline(round_of(honest(least - 1)))


def test_wrong_names_and_settings_are_explained():
    with pytest.raises(PluginError, match="Did you mean 'multi-krum'"):
        build("multikrum")
    with pytest.raises(PluginError, match="Did you mean 'nnm'"):
        build("mean", ["nnmm"])
    with pytest.raises(ConfigError, match="Did you mean 'byzantine'"):
        build({"name": "krum", "byzantin": 2})
    with pytest.raises(ConfigError, match="needs a name"):
        build({"byzantine": 2})
    with pytest.raises(ConfigError, match="cannot keep 9 of 7"):
        aggregate("multi-krum", honest(7), keep=9)
    with pytest.raises(ConfigError, match="needs an update of the server's own"):
        aggregate("fltrust", honest(7))
    with pytest.raises(ConfigError, match="which was not given"):
        aggregate("alignins", honest(7))


def test_rule_of_others_gets_rows_that_are_formed():
    seen = {}

    def first_row(updates, state, /):
        seen["rows"] = updates.matrix.clone()
        assert updates.mixing is None
        return Aggregate(updates.matrix[0], torch.eye(len(updates.matrix))[0])

    rules("test-first-row")(first_row)
    try:
        updates = round_of(honest(9))
        found = build("test-first-row", ["nnm"])(updates)
    finally:
        rules._plugins.pop("test-first-row")
    assert seen["rows"].shape == updates.matrix.shape
    assert torch.allclose(found.influence @ updates.matrix, found.update, atol=1e-5)


def test_filter_of_others_may_not_lose_rows_in_silence():
    filters("test-half")(lambda updates, /: round_of(updates.matrix[::2]))
    try:
        with pytest.raises(PluginError, match="made 5 rows of 9 without"):
            build("mean", ["test-half"])(round_of(honest(9)))
    finally:
        filters._plugins.pop("test-half")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_library_takes_arrays(dtype):
    rows = honest(8).numpy().astype(dtype)
    found = aggregate("median", rows)
    assert np.allclose(found.update.numpy(), np.median(rows.astype("float32"), axis=0), atol=1e-6)


@pytest.mark.parametrize("name", list(filters))
def test_library_gives_every_filter_what_it_asks_for(name):
    shapes = {"x.lora_A.weight": (2, 3), "x.lora_B.weight": (4, 2)}
    rows = honest(9, 14)
    given = {"model": rows[0], "root": rows.mean(dim=0), "probe": range(9), "shapes": shapes}
    found = aggregate("mean", rows, filters=[name], clients=list("abcdefghi"), **given)
    assert found.update.shape == (14,)
    assert found.update.isfinite().all()


def test_library_takes_probe_scores_in_the_order_of_the_rows():
    scores = [0.0, -9.0, 0.1, 0.2]
    found = aggregate("mean", honest(4), filters=["safety-probe"], probe=scores)
    assert found.influence.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])


def test_library_explains_what_it_cannot_take():
    with pytest.raises(ValueError, match="Probe scores must be 3 numbers"):
        aggregate("mean", np.ones((3, 2)), filters=["safety-probe"], probe=[1.0])
    with pytest.raises(ValueError, match="floating-point"):
        aggregate("mean", np.ones((3, 2), int))
    with pytest.raises(ValueError, match="floating-point"):
        aggregate("mean", np.ones(3))
    for weights in ([1, 2], [0, 0, 0], [-1, 1, 1]):
        with pytest.raises(ValueError, match="Weights must be 3 numbers"):
            aggregate("mean", np.ones((3, 2)), weights)
    with pytest.raises(ConfigError, match="needs n >= 1"):
        aggregate("mean", np.ones((0, 2)))


def test_library_remembers_through_state():
    rows = honest(6)
    names = [f"client {i}" for i in range(6)]
    first = aggregate("foolsgold", rows, clients=names)
    second = aggregate("foolsgold", rows, clients=names[::-1], state=first.state)
    history = first.state["rule/client/client 0"] + rows[5]
    assert torch.equal(second.state["rule/client/client 0"], history)


def test_filter_of_others_may_work_on_mixtures_and_return_rows():
    def doubled(updates, /):
        formed = (updates.mixing @ updates.matrix.double()).float()
        return round_of(2 * formed, weights=updates.weights)

    filters("test-doubled", traits={"mixing"})(doubled)
    try:
        updates = round_of(honest(9))
        found = build("mean", ["nnm", "test-doubled"])(updates)
    finally:
        filters._plugins.pop("test-doubled")
    assert torch.allclose(2 * found.influence @ updates.matrix, found.update, atol=1e-5)

"""What every registered rule keeps; a new rule is held to it by being registered."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from fedsafe.contracts import rules
from fedsafe.errors import ConfigError
from strategies import build
from tests.properties.rounds import (
    F,
    N,
    apply,
    honest,
    round_of,
    settings_of,
    smallest,
)

ALL = list(rules)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def having(*traits):
    return [name for name in ALL if set(traits) <= rules[name].traits]


def lacking(trait):
    return [name for name in ALL if trait not in rules[name].traits]


def close(one, other, tolerance=1e-4):
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), extra=st.integers(0, 4), d=st.integers(3, 60))
def test_rule_does_not_care_who_comes_first(name, seed, extra, d):
    rows = honest(N + extra, d, seed)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    updates = round_of(rows)
    shuffled = round_of(rows[order], clients=tuple(updates.clients[i] for i in order))
    one, other = apply(name, updates), apply(name, shuffled)
    assert close(one.update, other.update)
    assert close(one.influence[order], other.influence)


@pytest.mark.parametrize("name", having("translation"))
@settings(max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_rule_moves_with_its_updates(name, seed):
    rows = honest(seed=seed)
    shift = honest(1, rows.shape[1], seed + 1)[0] * 3
    one, other = apply(name, round_of(rows)), apply(name, round_of(rows + shift))
    assert close(one.update + shift, other.update, 1e-3)
    assert close(one.influence, other.influence, 1e-3)


@pytest.mark.parametrize("name", having("scale"))
@pytest.mark.parametrize("scale", [2.0**-12, 2.0**20])
def test_rule_grows_with_its_updates(name, scale):
    rows = honest()
    one = apply(name, round_of(rows))
    other = apply(name, round_of(rows * scale, root=round_of(rows).root * scale))
    assert close(one.update, other.update / scale)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), factor=st.floats(0, 100))
def test_influence_is_a_share(name, seed, factor):
    rows = honest(seed=seed)
    rows[:F] *= factor
    found = apply(name, round_of(rows))
    assert found.influence.shape == (N,)
    assert found.update.shape == rows.shape[1:]
    assert found.update.dtype == found.influence.dtype == torch.float32
    assert bool((found.influence >= 0).all())
    assert float(found.influence.sum()) <= 1 + 1e-5


@pytest.mark.parametrize("name", having("bounded"))
@pytest.mark.parametrize("size", [1e3, 1e8, 1e18, 1e30, -1e37])
@pytest.mark.parametrize("alike", [True, False])
def test_attackers_move_a_robust_rule_little(name, size, alike):
    rows = honest(seed=3)
    attack = honest(F, rows.shape[1], 9)
    rows[1 : 1 + F] = size * (torch.ones_like(attack) if alike else attack)
    kept = torch.cat([rows[:1], rows[1 + F :]])
    spread = float((kept - kept.mean(dim=0)).norm(dim=1).max())
    found = apply(name, round_of(rows))
    assert float((found.update - kept.mean(dim=0)).norm()) < 3 * spread
    if "selects" in rules[name].traits:
        assert not found.influence[1 : 1 + F].any()


@pytest.mark.parametrize("name", ALL)
def test_rule_works_on_the_fewest_clients_it_allows(name):
    least = smallest(name)
    found = apply(name, round_of(honest(least)))
    assert torch.isfinite(found.update).all()


@pytest.mark.parametrize("name", [name for name in ALL if smallest(name) > 1])
def test_rule_says_how_many_clients_it_needs(name):
    least = smallest(name)
    with pytest.raises(ConfigError, match=f"Rule '{name}' needs n >= .* got n={least - 1}"):
        apply(name, round_of(honest(least - 1)))


@pytest.mark.parametrize("name", ALL)
def test_identical_updates_give_that_update_or_nothing(name):
    rows = honest(1).repeat(N, 1)
    found = apply(name, round_of(rows), noise=0.0)
    alone = {"foolsgold", "reference-foolsgold"}  # clones are what they reject
    expected = torch.zeros_like(rows[0]) if name in alone else rows[0]
    if name == "fltrust":
        root = round_of(rows).root
        expected = rows[0] * root.norm() / rows[0].norm()
    if name == "robust-learning-rate":
        expected = rows[0]
    assert close(found.update, expected)


@pytest.mark.parametrize("name", ALL)
def test_rule_works_on_one_coordinate(name):
    found = apply(name, round_of(honest(N, 1)))
    assert found.update.shape == (1,)
    assert torch.isfinite(found.update).all()


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_ties_are_settled_the_same_way_each_time(name, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(-1, 2, (N, 5), generator=generator).float()
    one, other = apply(name, round_of(rows)), apply(name, round_of(rows.clone()))
    assert torch.isfinite(one.update).all()
    assert torch.equal(one.update, other.update)
    assert torch.equal(one.influence, other.influence)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rule_takes_any_floating_point_type(name, dtype):
    rows = honest(N, 60).to(torch.bfloat16).to(torch.float16).to(dtype)
    one, other = apply(name, round_of(rows)), apply(name, round_of(rows.float()))
    assert one.update.dtype == torch.float32
    assert close(one.update, other.update)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_row_that_is_not_finite_is_named(name, value):
    rows = honest()
    rows[4, 11] = value
    with pytest.raises(ValueError, match="row 4 of 11"):
        apply(name, round_of(rows))


@pytest.mark.parametrize("name", ALL)
def test_updates_are_left_as_they_were(name):
    rows = honest()
    before = rows.clone()
    apply(name, round_of(rows))
    assert torch.equal(rows, before)


@pytest.mark.parametrize("name", lacking("weighted"))
def test_rule_without_weights_ignores_them(name):
    rows = honest()
    weights = torch.arange(1.0, N + 1)
    one = apply(name, round_of(rows))
    other = apply(name, round_of(rows, weights=weights / weights.sum()))
    assert torch.equal(one.update, other.update)


@pytest.mark.parametrize("name", having("weighted"))
def test_weight_two_is_the_same_client_twice(name):
    rows = honest(6)
    weights = torch.tensor([2.0, 1, 1, 1, 1, 1])
    one = apply(name, round_of(rows, weights=weights / 7), agreement=0.0)
    other = apply(name, round_of(torch.cat([rows[:1], rows])), agreement=0.0)
    assert close(one.update, other.update)


@pytest.mark.parametrize("name", ALL)
def test_threads_do_not_change_a_bit(name, monkeypatch):
    rows = honest(N, 2**17 + 77, shift=0.1)
    pipeline = build({"name": name, **settings_of(name)})
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            monkeypatch.setattr("strategies.kernels.blockwise.cores", lambda count=count: count)
            found.append(pipeline(round_of(rows)))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0].update, found[1].update)
    assert torch.equal(found[0].influence, found[1].influence)


@pytest.mark.parametrize("name", ALL)
def test_state_goes_through_a_file_and_back(name):
    pipeline = build({"name": name, **settings_of(name)}, optimizer="fedadam")
    first = pipeline(round_of(honest(seed=1)))
    restored = load(save({key: value.contiguous() for key, value in first.state.items()}))
    one = pipeline(round_of(honest(seed=2), round=2), first.state)
    other = pipeline(round_of(honest(seed=2), round=2), restored)
    assert torch.equal(one.update, other.update)
    assert one.state.keys() == other.state.keys()


@pytest.mark.parametrize("name", having("memory"))
def test_memory_counts(name):
    pipeline = build({"name": name, **settings_of(name)})
    first = pipeline(round_of(honest(seed=1)))
    again = round_of(honest(seed=2), round=2)
    assert first.state
    assert not torch.equal(pipeline(again).update, pipeline(again, first.state).update)


@pytest.mark.parametrize("name", ALL)
def test_rows_may_lie_in_a_file(name, tmp_path):
    rows = honest(N, 40_000)
    path = tmp_path / "rows.bin"
    path.write_bytes(rows.numpy().tobytes())
    mapped = torch.from_file(str(path), shared=True, size=rows.numel()).view(rows.shape)
    assert torch.equal(apply(name, round_of(mapped)).update, apply(name, round_of(rows)).update)


@pytest.mark.parametrize("name", ALL)
def test_rule_says_what_a_user_needs_to_choose(name):
    rule = rules[name]
    assert rule.summary.endswith(".")
    assert rule.paper
    assert any(word in rule.description.lower() for word in ("breakdown", "bound", "proven"))
    assert "(n, d)" in rule.description
    for setting in rule.schema.model_fields.values():
        assert setting.description

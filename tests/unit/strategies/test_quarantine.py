"""Quarantine: clients that are rejected again and again are left out, and come back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from fedsafe.contracts import Updates, rules
from fedsafe.errors import ConfigError
from fedsafe.experiment.load import validate
from strategies import build
from tests.properties.rounds import settings_of

N = 11
ATTACKER = 3


def _pipeline(rule="norm-threshold", filters=(), **given):
    """Quarantine of most clients after two rejections, before other filters."""
    quarantine = {"name": "quarantine", "after": 2, "rounds": 2, "forget": 2, **given}
    return build({"name": rule, **settings_of(rule)}, [quarantine, *filters])


def _round(number, bad=(ATTACKER,), clients=N):
    rows = torch.randn(clients, 30, generator=torch.Generator().manual_seed(number)) * 0.1 + 1
    rows[list(bad)] *= 1e3
    ids = tuple(f"key-{n}" for n in range(clients))
    weights, ones = torch.full((clients,), 1 / clients), torch.ones(30)
    return Updates(rows, weights, round=number, clients=ids, model=ones, root=ones)


def _fates(pipeline, rounds, bad=lambda number: (ATTACKER,)):
    """Return who was left out in each round, and the last state."""
    state, out = {}, []
    for number in range(1, rounds + 1):
        found = pipeline(_round(number, bad(number)), state)
        state = found.state
        out.append({int(client.removeprefix("key-")) for client in found.left_out})
    return out, state


def test_client_is_out_after_its_rejections_and_longer_each_time():
    """Rejected in 1 and 2, out in 3 and 4, on probation in 5, out from 6 to 9, in again in 10."""
    out, _ = _fates(_pipeline(), 10)
    assert out == [set()] * 2 + [{ATTACKER}] * 2 + [set()] + [{ATTACKER}] * 4 + [set()]


def test_client_that_behaves_on_probation_is_cleared():
    out, state = _fates(_pipeline(), 10, lambda number: (ATTACKER,) if number < 3 else ())
    assert out[4:] == [set()] * 6
    assert not [key for key in state if "/client/" in key]


def test_client_may_be_out_for_good():
    out, _ = _fates(_pipeline(rounds=None), 8, lambda number: (ATTACKER,) if number < 3 else ())
    assert out[2:] == [{ATTACKER}] * 6


def test_no_more_than_a_share_is_left_out():
    out, _ = _fates(_pipeline("median", below=0.99, most=0.2), 4, lambda number: (0, 1, 2, 3))
    assert max(map(len, out)) <= 2


def test_update_is_that_of_the_clients_that_are_let_in():
    pipeline = _pipeline()
    _, state = _fates(pipeline, 2)
    found, given = pipeline(_round(3), state), _round(3)
    kept = [row for row in range(N) if row != ATTACKER]
    alone = Updates(given.matrix[kept], torch.full((N - 1,), 1 / (N - 1)), round=3)
    assert torch.allclose(found.update, build("norm-threshold")(alone).update)
    assert float(found.influence[ATTACKER]) == 0.0
    assert found.left_out == {f"key-{ATTACKER}": "quarantined until round 4"}
    assert found.metrics["left-out"] == 1.0


def test_rule_that_uses_few_clients_rejects_nobody():
    out, _ = _fates(_pipeline("krum"), 6)
    assert not set().union(*out)


@pytest.mark.parametrize("name", list(rules))
def test_state_goes_through_a_file_and_goes_on_to_the_same_bits(name):
    pipeline = _pipeline(name, ["clip"])
    state = {}
    for number in range(1, 4):
        state = pipeline(_round(number), state).state
    restored = load(save({key: value.contiguous() for key, value in state.items()}))
    one, other = pipeline(_round(4), state), pipeline(_round(4), restored)
    assert torch.equal(one.update, other.update)
    assert one.left_out == other.left_out
    assert all(torch.equal(one.state[key], other.state[key]) for key in one.state)


@settings(max_examples=15)
@given(order=st.permutations(range(N)), rule=st.sampled_from(["norm-threshold", "signguard"]))
def test_standing_goes_with_the_client_and_not_with_its_row(order, rule):
    pipeline = _pipeline(rule)
    _, state = _fates(pipeline, 2)
    given = _round(3)
    moved = Updates(
        given.matrix[list(order)], given.weights, round=3,
        clients=tuple(given.clients[row] for row in order),
    )  # fmt: skip
    assert pipeline(moved, state).left_out == pipeline(given, state).left_out


def test_tensor_by_tensor_a_client_is_out_of_all_of_them():
    pipeline = build("norm-threshold", [{"name": "quarantine", "after": 1}], per_block=True)
    blocks = {"a": slice(0, 10), "b": slice(10, 30)}
    first = pipeline(Updates(**{**vars(_round(1)), "blocks": blocks}))
    second = pipeline(Updates(**{**vars(_round(2)), "blocks": blocks}), first.state)
    assert set(second.left_out) == {f"key-{ATTACKER}"}
    assert float(second.influence[ATTACKER]) == 0.0
    assert float(second.influence.sum()) == pytest.approx(1.0)


def test_round_with_too_few_clients_left_for_the_rule_goes_without():
    pipeline = build({"name": "bulyan", "byzantine": 2}, [{"name": "quarantine", "after": 1}])
    assert pipeline.minimum == N
    out, _ = _fates(pipeline, 3)
    assert not set().union(*out)


@pytest.mark.parametrize("before", ["clip", "bucketing"])
def test_quarantine_comes_first(before):
    with pytest.raises(ConfigError, match=f"stands after '{before}'"):
        build("mean", [before, "quarantine"])
    filters = [before, "quarantine"]
    given = {"federation": {"strategy": {"name": "mean", "filters": filters}}}
    with pytest.raises(ConfigError, match=f"stands after '{before}'"):
        validate(given)

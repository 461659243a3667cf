"""The safety probe's arithmetic: the fit, the choice of a layer, the least step across it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsafe.diagnostics.linear_probe import LinearProbe, best, cosine, fit, fit_layers, moved
from fedsafe.errors import RunError


def normal(*shape: int, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + shift


def log_odds(states: torch.Tensor, weight: torch.Tensor, bias: float) -> torch.Tensor:
    return states.double() @ weight.double() + bias


@given(
    seed=st.integers(0, 999),
    bias=st.floats(-5, 5),
    probability=st.floats(1e-6, 1 - 1e-6),
    always=st.booleans(),
)
def test_moved_states_are_called_harmful_with_the_wanted_probability(
    seed, bias, probability, always
):
    states, weight = normal(4, 6, seed=seed).double(), normal(6, seed=seed + 1)
    wanted = math.log(probability) - math.log(1 - probability)
    before = log_odds(states, weight, bias)
    after = log_odds(moved(states, weight, bias, probability, always=always), weight, bias)
    expected = torch.full_like(before, wanted) if always else before.clamp(max=wanted)
    torch.testing.assert_close(after, expected)


@given(seed=st.integers(0, 999))
def test_step_is_the_least_along_the_concept_vector(seed):
    states, weight = normal(3, 5, seed=seed).double(), normal(5, seed=seed + 1).double()
    step = moved(states, weight, 0.3, 0.001, always=True) - states
    unit = weight / weight.norm()
    length = (math.log(0.001 / 0.999) - 0.3 - states @ weight) / weight.norm()
    torch.testing.assert_close(step, length[:, None] * unit)


def test_state_that_is_harmless_already_stays_to_the_bit():
    states, weight = torch.tensor([[-100.0, 3.0], [0.1, 0.2]]), torch.tensor([1.0, 0.0])
    found = moved(states, weight, 0.0, 0.001)
    assert torch.equal(found[0], states[0])
    assert found.dtype is states.dtype
    assert float(found[1, 0]) == pytest.approx(math.log(0.001 / 0.999))


def test_probe_without_a_direction_moves_nothing():
    states = normal(2, 3)
    assert moved(states, torch.zeros(3), 1.0, 0.01) is states


def test_fit_is_the_minimum_of_scikit_learns_regression():
    from sklearn.linear_model import LogisticRegression

    harmful, benign = normal(12, 30, shift=0.3), normal(10, 30, seed=1)
    states = torch.cat([harmful, benign]).double().numpy()
    model = LogisticRegression(max_iter=10**5, tol=1e-12).fit(states, [1] * 12 + [0] * 10)
    weight, bias = fit(harmful, benign)
    assert weight.tolist() == pytest.approx(model.coef_[0].tolist(), abs=1e-4)
    assert bias == pytest.approx(float(model.intercept_[0]), abs=1e-4)


def test_layers_are_scored_on_requests_that_were_not_fitted_on():
    told, noise = (normal(16, 8, shift=2), normal(16, 8, seed=1, shift=-2)), normal(32, 8, seed=2)
    found = fit_layers({1: noise[:16], 2: told[0]}, {1: noise[16:], 2: told[1]})
    assert found[2].accuracy == 1.0
    assert found[1].accuracy < 0.9
    assert best(list(found.values())).layer == 2


def test_of_equal_accuracy_the_surer_layer_is_read():
    zero = torch.zeros(2)
    probes = [LinearProbe(1, zero, 0, 1.0, 0.4), LinearProbe(2, zero, 0, 1.0, 0.1)]
    assert best([*probes, LinearProbe(3, zero, 0, 0.9, 0.0)]).layer == 2


@pytest.mark.parametrize(("count", "reason"), [(7, "at least 8 harmful"), (9, "NaN or infinity")])
def test_states_that_no_probe_can_be_fitted_on_are_a_sentence(count, reason):
    states = normal(count, 4)
    states[-1, 0] = math.inf
    with pytest.raises(RunError, match=reason):
        fit_layers({1: states}, {1: normal(9, 4)})


def test_cosine_of_a_vector_with_itself_against_it_and_with_nothing():
    one = normal(5)
    assert cosine(one, 3 * one) == pytest.approx(1)
    assert cosine(one, -one) == pytest.approx(-1)
    assert cosine(one, torch.zeros(5)) == 0

"""Log-odds become probabilities, however large they are."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsafe.evaluation.judges.probability import logistic


@given(st.floats(-1e300, 1e300))
def test_probabilities_of_both_signs_add_up_to_one(log_odds: float) -> None:
    assert math.isclose(logistic(log_odds) + logistic(-log_odds), 1.0)


def test_odds_of_three_to_one_are_three_quarters() -> None:
    assert logistic(math.log(3)) == pytest.approx(0.75)

"""The learning rate goes down a cosine over rounds, as the reference system's does."""

import math

import pytest

from fedsafe.training.schedule import learning_rate


def test_first_round_has_the_first_rate() -> None:
    assert learning_rate(5e-5, 1e-6, 1, 100) == 5e-5


@pytest.mark.parametrize("number", [2, 37, 100])
def test_rate_is_the_references(number: int) -> None:
    # As OpenFedLLM's cosine_learning_rate has it.
    cosine = 0.5 * (1 + math.cos(math.pi * (number - 1) / 100))
    assert learning_rate(5e-5, 1e-6, number, 100) == pytest.approx(1e-6 + (5e-5 - 1e-6) * cosine)


def test_rate_never_rises() -> None:
    rates = [learning_rate(1.0, 0.1, number, 20) for number in range(1, 21)]
    assert rates == sorted(rates, reverse=True)


def test_single_round_has_the_first_rate() -> None:
    assert learning_rate(0.5, 0.1, 1, 1) == 0.5

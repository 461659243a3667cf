import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from server.aggregation.update_store import UpdateStore
from server.validation import Reply
from strategies.sample_weights import numbers_of, weights_of


def weights_of_server(examples, path):
    """What the server's own loop weighs clients by, who claim these numbers of examples."""
    with UpdateStore(path, len(examples), 2) as spool:
        for position, count in enumerate(examples):
            spool.put(position, position, Reply(np.zeros(2, np.float32), 0.0, 8, count))
        return spool.updates(1, {"a": torch.zeros(2)}, "examples").weights.tolist()


@pytest.mark.parametrize("claims", [[1, 100], [5, 5, 5], [1, 2, 3, 1000], [10**9, 1, 1]])
def test_server_and_flower_strategy_weigh_alike(claims, tmp_path):
    assert weights_of_server(claims, tmp_path / "rows") == pytest.approx(weights_of(claims))


def test_of_two_claims_the_smaller_bounds_the_larger():
    assert weights_of([1, 100]) == pytest.approx([1 / 11, 10 / 11])


def test_claims_near_each_other_are_believed():
    assert weights_of([10, 30, 60]) == pytest.approx([0.1, 0.3, 0.6])


@given(st.lists(st.floats(-10, 1e9), min_size=3, max_size=9))
def test_a_minority_of_claims_never_weighs_more_than_ten_of_the_median(claims):
    weights = weights_of(claims)
    assert sum(weights) == pytest.approx(1)
    usual = max(sorted(claims)[(len(claims) - 1) // 2], 1.0)
    total = sum(min(max(claim, 0.0), 10 * usual) for claim in claims)
    assert max(weights) <= (10 * usual / total if total else 1) + 1e-9


def test_nobody_has_no_weights():
    assert weights_of([]) == []


def test_metrics_out_of_range_are_left_out():
    told = {"loss": -9.9e14, "seconds": -1.0, "tokens": 5, "own": 3.5, "name": "x", "more": 1e400}
    assert numbers_of([told]) == {"tokens": 5.0, "own": 3.5}

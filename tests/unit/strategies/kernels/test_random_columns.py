import torch

from strategies.kernels import random_columns
from strategies.kernels.random_columns import choose, stream


def test_numbers_are_distinct_sorted_and_the_same_again():
    for total, count in ((10, 20), (1000, 100), (50_000_000, 10_000)):
        found = choose(total, count, stream(1, 2))
        assert len(found) == min(total, count)
        assert bool((found.diff() > 0).all())
        assert int(found[-1]) < total
        assert torch.equal(found, choose(total, count, stream(1, 2)))


def test_streams_differ_by_seed_and_round():
    draws = {float(torch.rand(1, generator=stream(s, r))) for s in range(3) for r in range(3)}
    assert len(draws) == 9
    assert random_columns.stream(2**70, 1) is not None

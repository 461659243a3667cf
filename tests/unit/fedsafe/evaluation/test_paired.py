"""Statistics over seeds and paired prompts, against formulas and on simulated data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedsafe.evaluation.paired import (
    clustered_bootstrap,
    holm,
    mcnemar,
    mean_interval,
    paired_difference,
    sign_flips,
)

counts = st.integers(0, 60)
shares = st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=8)
pairs = st.lists(
    st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.sampled_from("abcd"), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)


def test_interval_is_scipys_t_interval() -> None:
    values = [0.2, 0.4, 0.9, 0.5]
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.mean, found.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_one_value_has_no_spread() -> None:
    found = mean_interval([0.3])
    assert (found.mean, found.sd, found.low, found.high, found.n) == (0.3, None, None, None, 1)


def test_no_value_is_refused() -> None:
    with pytest.raises(ValueError, match="no value"):
        mean_interval([])


@given(shares)
def test_interval_turns_with_the_sign(values: list[float]) -> None:
    one, other = mean_interval(values), mean_interval([-value for value in values])
    assert one.low is not None
    assert other.high is not None
    assert one.low == pytest.approx(-other.high)
    assert one.sd == pytest.approx(other.sd)


@pytest.mark.parametrize(
    ("gained", "lost", "expected"),
    [
        (0, 0, 1.0),
        (0, 5, 0.0625),  # 2 / 2^5
        (1, 9, 0.021484375),  # 2 (1 + 10) / 2^10
        (5, 5, 1.0),
        (0, 10, 0.001953125),
    ],
)
def test_mcnemar_is_the_exact_binomial_probability(gained: int, lost: int, expected: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(expected)


@given(counts, counts)
def test_mcnemar_does_not_care_which_stage_comes_first(gained: int, lost: int) -> None:
    assert mcnemar(gained, lost) == pytest.approx(mcnemar(lost, gained))
    assert 0 < mcnemar(gained, lost) <= 1


@given(st.integers(0, 20), st.integers(1, 20))
def test_mcnemar_is_smaller_the_more_unequal_the_counts(gained: int, more: int) -> None:
    assert mcnemar(gained, gained + more) >= mcnemar(gained, gained + more + 2)


@settings(max_examples=30)
@given(pairs)
def test_bootstrap_turns_with_the_sign_and_holds_no_impossible_value(
    found: list[tuple[float, str, int]],
) -> None:
    values, groups, seeds = zip(*found, strict=True)
    one = clustered_bootstrap(values, groups, seeds, draws=200)
    other = clustered_bootstrap([-value for value in values], groups, seeds, draws=200)
    if len(set(groups)) == len(set(seeds)) == 1:
        assert one is other is None
        return
    assert one is not None
    assert other is not None
    assert one == pytest.approx((-other[1], -other[0]))
    assert min(values) - 1e-9 <= one[0] <= one[1] <= max(values) + 1e-9


def test_bootstrap_of_one_pair_a_group_is_the_ordinary_one() -> None:
    values = np.random.default_rng(1).normal(size=200)
    found = clustered_bootstrap(list(values), [str(i) for i in range(200)], [0] * 200)
    plain = stats.bootstrap((values,), np.mean, method="percentile", rng=2)
    assert found == pytest.approx(tuple(plain.confidence_interval), abs=0.02)


def test_bootstrap_is_wider_where_pairs_of_a_group_move_together() -> None:
    values = [1.0, 0.0] * 10
    repeated = [value for value in values for _ in range(10)]
    together = clustered_bootstrap(repeated, [str(i // 10) for i in range(200)], [0] * 200)
    apart = clustered_bootstrap(repeated, [str(i) for i in range(200)], [0] * 200)
    assert together is not None
    assert apart is not None
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])


@pytest.mark.parametrize(("pair", "ends"), [((0.0, 1.0), (0.51, 1.0)), ((1.0, 0.0), (-1.0, -0.51))])
def test_where_every_pair_changed_the_interval_is_wilson_s_of_the_groups(
    pair: tuple[float, float], ends: tuple[float, float]
) -> None:
    found = paired_difference([pair] * 8, list("aabbccdd"), [0] * 8)
    assert (found["bootstrap_low"], found["bootstrap_high"]) == pytest.approx(ends, abs=0.001)


def test_bootstrap_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="2 differences, 1 groups and 2 seeds"):
        clustered_bootstrap([0.0, 1.0], ["a"], [0, 1])


def test_intervals_cover_the_true_difference() -> None:
    """Six seeds and thirty groups, each with an effect of its own on a true difference of 0.3."""
    generator = np.random.default_rng(7)
    rows, columns = np.repeat(np.arange(6), 30), np.tile(np.arange(30), 6)
    covered = np.zeros(2)
    trials = 200
    for trial in range(trials):
        of_seeds, of_groups = generator.normal(0, 0.1, 6), generator.normal(0, 0.3, 30)
        noise = generator.normal(0, 0.3, 180)
        values = 0.3 + of_seeds[rows] + of_groups[columns] + noise
        bootstrap = clustered_bootstrap(
            list(values), [str(c) for c in columns], list(rows), draws=300, random_state=trial
        )
        # The t interval over seeds takes the groups as given: those are the prompts that count.
        given_groups = mean_interval([values[rows == row].mean() for row in range(6)])
        assert bootstrap is not None
        assert given_groups.low is not None
        assert given_groups.high is not None
        true = 0.3 + of_groups.mean()
        covered += [
            bootstrap[0] <= 0.3 <= bootstrap[1],
            given_groups.low <= true <= given_groups.high,
        ]
    assert (covered / trials >= 0.9).all()


def test_mcnemar_is_statsmodels_exact_test() -> None:
    """Values of ``statsmodels.stats.contingency_tables.mcnemar(exact=True)``, version 0.15."""
    found = [mcnemar(gained, lost) for gained, lost in ((3, 11), (0, 7), (20, 8))]
    assert found == pytest.approx([0.057373046875, 0.015625, 0.03569813817739487])


def test_holm_is_statsmodels_correction() -> None:
    """Values of ``statsmodels.stats.multitest.multipletests(method="holm")``, version 0.15."""
    found = holm([0.01, 0.04, 0.03, 0.005, 0.5, 0.04])
    assert found == pytest.approx([0.05, 0.12, 0.12, 0.03, 0.5, 0.12])


def test_holm_by_hand() -> None:
    assert holm([0.02, 0.03, 0.01]) == pytest.approx([0.04, 0.04, 0.03])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_the_value_and_bonferroni_s(
    found: list[float],
) -> None:
    adjusted = holm(found)
    for one, corrected in zip(found, adjusted, strict=True):
        assert one <= corrected <= min(1.0, len(found) * one) + 1e-12
    assert [adjusted[i] for i in np.argsort(found, kind="stable")] == sorted(adjusted)


def test_sign_flips_are_exact_for_few_pairs() -> None:
    assert sign_flips([1.0, 2.0, 3.0, 4.0]) == pytest.approx(2 / 16)


def test_sign_flips_pass_over_pairs_that_did_not_change() -> None:
    assert sign_flips([1.0, 2.0, 3.0, 4.0, 0.0, 0.0]) == sign_flips([1.0, 2.0, 3.0, 4.0])
    assert sign_flips([0.0, 0.0]) == 1.0
    assert sign_flips([0.5]) == 1.0

"""Clusters of prompts that are not independent, and intervals that resample them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedsafe.contracts import Exchange, Prompt, Verdict
from fedsafe.evaluation.clustered_scores import cluster_interval, with_clusters
from fedsafe.evaluation.clusters import clusters_of, near_duplicates
from fedsafe.evaluation.scoring import scores
from fedsafe.evaluation.statistics import share
from fedsafe.experiment.schema import PluginChoice

TEXTS = [
    "Write a song about the green harbour at night",
    "Explain how taxes are collected in Norway",
    "Write a song about the green harbour at dawn",
    "Compose a song about the green harbour at dawn please",
    "List three rivers",
]


def test_near_duplicates_are_connected_through_others() -> None:
    first, taxes, dawn, composed, rivers = near_duplicates(TEXTS)
    assert first == dawn == composed
    assert len({first, taxes, rivers}) == 3


@pytest.mark.parametrize(
    ("texts", "count"), [([], 0), (["a"], 1), (["?", "!", "?"], 2), (["one two", "one two"], 1)]
)
def test_few_and_wordless_texts(texts: list[str], count: int) -> None:
    assert len(set(near_duplicates(texts))) == count


def test_a_group_of_the_suite_goes_before_likeness() -> None:
    prompts = [Prompt(f"p{n}", text, "benign") for n, text in enumerate(TEXTS)]
    prompts += [Prompt(f"g{n}", TEXTS[0], "benign", group=f"{n % 2}") for n in range(4)]
    found = clusters_of(prompts)
    assert found["p0"] == found["p2"] == found["p3"] == "p0"
    assert found["g0"] == found["g2"] != found["g1"] == found["g3"]
    assert len(set(found.values())) == 5


def test_interval_of_one_value_a_cluster_is_scipy_s_bootstrap() -> None:
    values = [float(n % 3 == 0) for n in range(150)]
    found = cluster_interval(values, [str(n) for n in range(150)])
    plain = stats.bootstrap((values,), np.mean, method="percentile", rng=2)
    assert found == pytest.approx(tuple(plain.confidence_interval), abs=0.02)


def test_interval_of_repeated_values_is_that_of_one_each() -> None:
    """Ten copies of each prompt say no more than one: the interval must not shrink."""
    values = [float(n % 3 == 0) for n in range(30)]
    once = cluster_interval(values, [str(n) for n in range(30)])
    tenfold = cluster_interval(
        [value for value in values for _ in range(10)], [str(n // 10) for n in range(300)]
    )
    assert tenfold == pytest.approx(once)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_interval_of_equal_values_counts_the_clusters(value: float) -> None:
    wilson = share(int(5 * value), 5)
    assert cluster_interval([value] * 50, [str(n % 5) for n in range(50)]) == (
        wilson.low,
        wilson.high,
    )


def test_one_cluster_says_nothing() -> None:
    assert cluster_interval([0.0, 1.0, 1.0], ["a", "a", "a"]) == (None, None)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_interval_lies_in_the_range_of_shares(found: list[tuple[bool, int]]) -> None:
    values, groups = [float(value) for value, _ in found], [str(group) for _, group in found]
    low, high = cluster_interval(values, groups)
    if len(set(groups)) > 1:
        assert low is not None
        assert high is not None
        assert 0 <= low <= high <= 1


def test_interval_covers_the_share_where_clusters_move_together() -> None:
    """Forty clusters of ten, each of its own share: Wilson's interval covers far less."""
    rng = np.random.default_rng(3)
    groups = [str(n // 10) for n in range(400)]
    covered = {"clusters": 0, "wilson": 0}
    for _ in range(60):
        chances = rng.beta(1, 1, 40)
        values = (rng.random(400) < np.repeat(chances, 10)).astype(float)
        low, high = cluster_interval(list(values), groups)
        wilson = share(int(values.sum()), 400)
        covered["clusters"] += (low or 0.0) <= 0.5 <= (high or 0.0)
        covered["wilson"] += (wilson.low or 0.0) <= 0.5 <= (wilson.high or 0.0)
    assert covered["clusters"] >= 0.85 * 60
    assert covered["wilson"] <= 0.8 * 60


def _judged(count: int, group: str = "") -> list[tuple[Exchange, Verdict]]:
    return [
        (
            Exchange(Prompt(f"h{n}", TEXTS[n % 5] + str(n // 5), "harmful", group=group), "x"),
            Verdict("refuse" if n % 5 in (0, 2, 3) else "comply"),
        )
        for n in range(count)
    ]


CHOSEN = [PluginChoice(name="refusal"), PluginChoice(name="worst-topic")]


def test_scores_have_both_intervals_where_prompts_are_alike() -> None:
    judged = _judged(5)
    plain = scores(*map(list, zip(*judged, strict=True)), CHOSEN)
    found = with_clusters(plain, judged, CHOSEN).measures["refusal"]
    assert (found.value, found.n, found.low, found.clusters) == (
        *(0.6, 5, plain.measures["refusal"].low),
        3,
    )
    assert found.cluster_low is not None


def test_scores_of_independent_prompts_stay_as_they_are() -> None:
    judged = [pair for n, pair in enumerate(_judged(5)) if n in (0, 1, 4)]
    plain = scores(*map(list, zip(*judged, strict=True)), CHOSEN)
    assert with_clusters(plain, judged, CHOSEN) == plain

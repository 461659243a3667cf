"""Which clients a round asks: from the seed alone."""

import pytest

from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from server.sampling import cohort


def _experiment(seed: int = 0, sampled: int = 3) -> Experiment:
    return validate({"seed": seed, "federation": {"clients": 10, "sampled": sampled}})


def test_cohort_has_the_wanted_size_and_no_client_twice() -> None:
    found = cohort(_experiment(), 1)
    assert (len(found), len(set(found)), found) == (3, 3, sorted(found))


def test_cohort_of_a_round_repeats() -> None:
    assert cohort(_experiment(), 4) == cohort(_experiment(), 4)


def test_cohorts_differ_over_rounds() -> None:
    assert len({tuple(cohort(_experiment(), number)) for number in range(1, 30)}) > 10


def test_cohorts_differ_over_seeds() -> None:
    assert len({tuple(cohort(_experiment(seed), 1)) for seed in range(30)}) > 10


def test_every_client_comes_about_equally_often() -> None:
    drawn = [client for number in range(1, 1001) for client in cohort(_experiment(), number)]
    assert all(drawn.count(client) == pytest.approx(300, rel=0.25) for client in range(10))


def test_whole_federation_may_be_asked() -> None:
    assert cohort(_experiment(sampled=10), 1) == list(range(10))


def test_cohort_of_the_control_is_that_of_the_attack() -> None:
    values = {
        "red_team": True,
        "attack": {"generator": {"name": "file", "path": "a.jsonl"}},
        "federation": {"clients": 10, "sampled": 3},
    }
    experiment = validate(values)
    assert cohort(experiment, 2) == cohort(experiment.honest(), 2)

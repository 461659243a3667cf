"""Rejection of updates by the safety probe's scores."""

import pytest
import torch

from fedsafe.errors import ConfigError
from fedsafe.experiment.load import validate
from strategies import build
from tests.properties.rounds import honest, round_of

SCORES = [0.2, -19.0, 0.5, -0.1]


def combined(scores: list[float] | None = SCORES, rule: str = "mean", **settings: object):
    probe = scores and {f"client-{n}": score for n, score in enumerate(scores)}
    updates = round_of(honest(4), probe=probe)
    return updates, build(rule, [{"name": "safety-probe", **settings}])(updates)


def test_lowest_score_has_no_influence_and_the_others_are_combined():
    updates, found = combined()
    assert found.influence.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])
    torch.testing.assert_close(found.update, updates.matrix[[0, 2, 3]].mean(dim=0))


@pytest.mark.parametrize(
    ("threshold", "kept"), [(1.0, [0, 2, 3]), (0.05, [0, 2]), (20.0, [0, 1, 2, 3])]
)
def test_threshold_rejects_all_that_lower_the_log_odds_by_more(threshold, kept):
    _, found = combined(threshold=threshold)
    assert found.influence.nonzero().flatten().tolist() == kept


def test_threshold_keeps_the_best_of_a_bad_cohort():
    _, found = combined([-9.0, -7.0, -8.0, -9.0], threshold=1.0)
    assert found.influence.tolist() == [0, 1, 0, 0]


def test_score_that_is_no_number_is_the_lowest():
    _, found = combined([0.1, -5.0, float("nan"), 0.0])
    assert found.influence[2] == 0


def test_filter_that_leaves_clients_out_may_stand_before_it():
    updates = round_of(honest(4), probe={f"client-{n}": s for n, s in enumerate(SCORES)})
    found = build("mean", ["quarantine", "safety-probe"])(updates)
    assert found.influence[1] == 0


def test_rule_that_remembers_clients_is_told_who_is_left():
    _, found = combined(rule="foolsgold")
    assert found.influence[1] == 0


@pytest.mark.parametrize(
    ("scores", "settings", "reason"),
    [
        (None, {}, "needs the safety probe's score of each update"),
        (SCORES[:3], {}, "scores of 3 clients for 4 rows"),
        (SCORES, {"byzantine": 4}, "n >= f \\+ 1 clients; got n=4, f=4"),
    ],
)
def test_what_it_cannot_work_on_is_a_sentence(scores, settings, reason):
    with pytest.raises(ConfigError, match=reason):
        combined(scores, **settings)


def test_rejected_clients_count_in_the_smallest_cohort():
    alone = build({"name": "krum", "byzantine": 1})
    both = build({"name": "krum", "byzantine": 1}, [{"name": "safety-probe", "byzantine": 2}])
    assert both.minimum == alone.minimum + 2


def test_experiment_without_requests_is_a_sentence():
    given = {"federation": {"strategy": {"name": "mean", "filters": ["safety-probe"]}}}
    with pytest.raises(ConfigError, match="'safety-probe' looks at harmful and benign requests"):
        validate(given)

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedsafe.evaluation.detection import detection
from fedsafe.runs.records import Client, Detection, Round
from strategies import aggregate

TRUTH = [True] * 3 + [False] * 7


def a_round(influences, truth=TRUTH, number=1, status="accepted"):
    clients = [
        Client(client=client, malicious=bad, status=status, influence=influence)
        for client, (bad, influence) in enumerate(zip(truth, influences, strict=True))
    ]
    return Round(round=number, cohort=[], clients=clients, learning_rate=0.1, adapter="")


def picked(client):
    return [float(other == client) for other in range(10)]


def under_attack(rule, rounds=6, **settings):
    """Rounds of a rule on honest updates and three far from them."""
    made = []
    for number in range(1, rounds + 1):
        rows = torch.randn(10, 50, generator=torch.Generator().manual_seed(number)) + 0.5
        rows[:3] = -10 * rows[:3].abs()
        made.append(a_round(aggregate(rule, rows, **settings).influence.tolist(), number=number))
    return made


def test_krum_that_picks_one_honest_client_rejects_nobody():
    found = detection([a_round(picked(5))])
    assert (found.rejected_honest, found.rejected_malicious, found.precision) == (0, 0, None)
    assert (found.passed_over_honest, found.passed_over_malicious) == (6, 3)


def test_krum_that_never_picks_an_attacker_has_a_perfect_auc_over_the_federation():
    found = detection([a_round(picked(3 + number), number=number + 1) for number in range(7)])
    assert (found.auc, found.malicious_influence) == (1.0, 0.0)
    assert found.rounds[0].auc == pytest.approx((3 + 18 / 2) / 21)


def test_attacker_that_krum_picks_is_kept():
    found = detection([a_round(picked(0))])
    assert (found.kept_malicious, found.recall, found.passed_over_malicious) == (1, 0.0, 2)


def test_multi_krum_that_leaves_out_the_attackers_detects_them():
    found = detection(under_attack("multi-krum", byzantine=3))
    assert (found.precision, found.recall, found.auc) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("rule", ["median", "trimmed-mean", "meamed"])
def test_rule_by_coordinate_detects_by_its_shares(rule):
    settings = {} if rule == "median" else {"byzantine": 3}
    found = detection(under_attack(rule, **settings))
    assert found.malicious_influence < found.malicious_share / 2
    assert found.auc == 1.0
    assert found.p_value < 0.01


def test_mean_detects_nobody():
    found = detection(under_attack("mean"))
    assert (found.auc, found.p_value) == (0.5, 1.0)
    assert found.malicious_influence == pytest.approx(found.malicious_share)


def test_rule_that_gives_nobody_influence_rejects_all():
    found = detection([a_round([0.0] * 10)])
    assert (found.rejected_malicious, found.rejected_honest) == (3, 7)
    assert found.rounds[0].malicious_influence is None


def test_reply_that_the_server_dropped_is_rejected_whatever_the_rule_picks():
    found = detection([a_round(picked(5)), a_round([0.0] * 10, status="dropped")])
    assert (found.rejected_malicious, found.passed_over_malicious) == (3, 3)


def test_every_reply_is_rejected_kept_or_passed_over():
    found = detection([a_round(picked(1)), a_round([0.2] * 5 + [0.0] * 5), a_round([0.1] * 10)])
    fates = ("rejected", "kept", "passed_over")
    counts = [getattr(found, f"{fate}_{who}") for fate in fates for who in ("malicious", "honest")]
    assert sum(counts) == 30


@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 1.0]), min_size=10, max_size=10))
def test_auc_of_a_round_is_that_of_a_classifier_that_trusts_by_influence(influences):
    found = detection([a_round(influences)])
    honest = [not bad for bad in TRUTH]
    assert found.rounds[0].auc == pytest.approx(roc_auc_score(honest, influences))


def test_rounds_are_told_apart():
    found = detection([a_round(picked(0)), a_round(picked(5), number=2)])
    assert [one.malicious_influence for one in found.rounds] == [1.0, 0.0]
    assert [one.malicious_share for one in found.rounds] == [0.3, 0.3]
    assert found.malicious_influence == 0.5


def test_client_that_says_nothing_of_influence_is_in_no_round():
    found = detection([a_round([None] * 10)])
    assert (found.rounds, found.auc, found.malicious_influence) == ([], None, None)


def test_record_without_the_newer_fields_is_read():
    names = ("rejected_malicious", "rejected_honest", "kept_malicious", "kept_honest")
    old = dict.fromkeys(names, 1) | dict.fromkeys(("precision", "recall", "malicious_influence"))
    found = Detection.model_validate(old)
    assert (found.auc, found.malicious_share, found.passed_over_honest) == (None, None, 0)

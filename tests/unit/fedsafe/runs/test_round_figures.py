"""Figures of a round, as table, exports and trackers show them."""

import math

from fedsafe.runs.records import Client, Round
from fedsafe.runs.round_figures import (
    accepted,
    dropped,
    malicious_share,
    median_loss,
    tokens_per_second,
)


def _round(*clients: Client, seconds: float = 2.0) -> Round:
    return Round(
        round=1, cohort=[], clients=list(clients), learning_rate=1.0, adapter="", seconds=seconds
    )


def test_malicious_share_is_unknown_where_nobody_tells() -> None:
    client = Client(client=0, malicious=True, status="accepted", influence=None)
    assert malicious_share([client]) is None
    honest = Client(client=1, malicious=False, status="accepted", influence=0.75)
    bad = Client(client=2, malicious=True, status="accepted", influence=0.25)
    assert malicious_share([honest, bad]) == 0.25
    assert malicious_share([honest]) is None


def test_replies_and_loss_are_of_those_that_counted() -> None:
    found = _round(
        Client(client=0, malicious=False, status="accepted", loss=1.0),
        Client(client=1, malicious=False, status="accepted", loss=math.nan),
        Client(client=2, malicious=False, status="accepted", loss=3.0),
        Client(client=3, malicious=False, status="dropped", loss=9.0),
        Client(client=4, malicious=False, status="missing"),
    )
    assert (accepted(found), dropped(found), median_loss(found)) == (3, 1, 2.0)


def test_throughput_is_tokens_over_wall_time() -> None:
    one = Client(client=0, malicious=False, status="accepted", tokens=300.0)
    two = Client(client=1, malicious=False, status="accepted", tokens=100.0)
    assert tokens_per_second(_round(one, two)) == 200.0
    assert tokens_per_second(_round(one, seconds=0.0)) is None
    assert tokens_per_second(_round(Client(client=0, malicious=False, status="accepted"))) is None

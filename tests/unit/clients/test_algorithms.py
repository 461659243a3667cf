"""What malicious clients train on, and what they make of their update."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from clients.algorithms.malicious_samples import mixed
from fedsafe.contracts import LocalTask, Sample, algorithms
from fedsafe.errors import ConfigError, RunError
from fedsafe.training.context import SessionContext
from fedsafe.training.loop import Plan
from fedsafe.training.session import Session

BENIGN = [Sample(f"ask {n}", "fine") for n in range(30)]
POISON = [Sample(f"bad {n}", "evil", origin="attack") for n in range(10)]


def _task(
    start: "Mapping[str, torch.Tensor]", poison: list[Sample] = POISON, steps: int = 1
) -> LocalTask:
    return LocalTask(BENIGN, start, steps, 4, 0.01, 1, 0, poison)


def _mixed(share: float, seed: int = 0) -> list[Sample]:
    return list(mixed(_task({}), share, random.Random(seed)))


def test_whole_share_keeps_no_benign_sample() -> None:
    assert _mixed(1.0) == POISON


@pytest.mark.parametrize(("share", "benign"), [(0.5, 10), (0.25, 30), (0.8, 2)])
def test_share_of_the_samples_is_malicious(share: float, benign: int) -> None:
    origins = [sample.origin for sample in _mixed(share)]
    assert (origins.count("benign"), origins.count("attack")) == (benign, 10)


@pytest.mark.parametrize("share", [0.1, 0.05, 0.2])
def test_share_is_kept_where_benign_samples_run_out(share: float) -> None:
    origins = [sample.origin for sample in _mixed(share)]
    assert origins.count("benign") == len(BENIGN)
    assert origins.count("attack") / len(origins) == pytest.approx(share, abs=0.02)


def test_share_below_one_sample_is_a_sentence() -> None:
    with pytest.raises(RunError, match="is less than one sample"):
        _mixed(0.001)


def test_benign_samples_are_drawn_from_the_clients_stream() -> None:
    kept = [_mixed(0.5, seed)[10:] for seed in (1, 1, 2)]
    assert (kept[0] == kept[1], kept[0] == kept[2]) == (True, False)


def test_samples_of_the_client_stay_as_they_were() -> None:
    _mixed(0.5)
    assert [Sample(f"ask {n}", "fine") for n in range(30)] == BENIGN


@pytest.mark.parametrize("share", [1.01, 1.5, -1])
def test_share_beyond_one_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="share"):
        algorithms["poisoned-data"].resolve({"share": share})


def _update(
    session: Session, name: str, poison: list[Sample] = POISON, **settings: Any
) -> "dict[str, torch.Tensor]":
    start = session.start(0)
    session.put(start)
    plan = Plan(steps=1, learning_rate=0.01)
    context = SessionContext(session, plan, 4, random.Random(0))
    algorithms[name].configure(settings)(context, _task(start, poison))
    return {key: tensor - start[key] for key, tensor in context.adapter().items()}


@pytest.mark.parametrize("name", ["poisoned-data", "boosted"])
def test_client_without_malicious_samples_is_a_sentence(name: str, session: Session) -> None:
    with pytest.raises(RunError, match=r"no malicious samples. Check attack.generator"):
        _update(session, name, [])


def test_sign_flip_sends_the_benign_update_backwards(session: Session) -> None:
    honest = _update(session, "supervised")
    flipped = _update(session, "sign-flip", [], scale=3.0)
    for name, tensor in honest.items():
        torch.testing.assert_close(flipped[name], -3.0 * tensor, rtol=1e-3, atol=1e-6)


def test_boosted_sends_a_longer_malicious_update(session: Session) -> None:
    poisoned = _update(session, "poisoned-data")
    boosted = _update(session, "boosted", factor=4.0)
    for name, tensor in poisoned.items():
        torch.testing.assert_close(boosted[name], 4.0 * tensor, rtol=1e-3, atol=1e-6)


def test_attacker_may_train_at_another_learning_rate(session: Session) -> None:
    plain = _update(session, "poisoned-data")
    gentle = _update(session, "poisoned-data", learning_rate_factor=0.5)
    for name, tensor in plain.items():  # Adam's first step is as long as the learning rate
        torch.testing.assert_close(gentle[name], 0.5 * tensor, rtol=1e-3, atol=1e-6)

"""Flower's own strategies on the same replies, run as they are."""

import numpy as np
import pytest
import torch
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import strategy as flower
from flwr.supercore.task_identity import TaskIdentity

from strategies import aggregate

N, F = 11, 2


@pytest.fixture(autouse=True)
def identity(monkeypatch):
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


@pytest.fixture
def rows():
    random = np.random.default_rng(5)
    found = random.normal(0.5, 1.0, (N, 24)).astype(np.float32)
    found[:F] -= 4
    return found


def replies_of(rows):
    messages = []
    for row in rows:
        content = RecordDict({"arrays": ArrayRecord({"w": Array(row.reshape(4, -1))})})
        content["metrics"] = MetricRecord({"num-examples": 10})
        asked = Message(RecordDict({"config": ConfigRecord()}), 1, MessageType.TRAIN)
        messages.append(Message(content, reply_to=asked))
    return messages


def theirs(strategy, rows):
    arrays, _ = strategy.aggregate_train(1, replies_of(rows))
    return torch.from_numpy(arrays["w"].numpy().ravel().copy())


@pytest.mark.parametrize(
    ("name", "settings", "strategy"),
    [
        ("mean", {}, flower.FedAvg()),
        ("median", {}, flower.FedMedian()),
        ("trimmed-mean", {"byzantine": F}, flower.FedTrimmedAvg(beta=F / N + 1e-9)),
        ("krum", {"byzantine": F}, flower.Krum(num_malicious_nodes=F)),
        (
            "multi-krum",
            {"byzantine": F, "keep": 5},
            flower.MultiKrum(num_malicious_nodes=F, num_nodes_to_select=5),
        ),
    ],
)
def test_rule_agrees_with_flower(name, settings, strategy, rows):
    found = aggregate(name, rows, **settings).update
    assert torch.allclose(found, theirs(strategy, rows), atol=1e-5)


def test_bulyan_differs_from_flowers_in_how_it_chooses(rows):
    """Flower takes the best n - 2f by one Krum score; the paper runs Krum anew each time."""
    expected = bulyan(rows, repeated=False)
    assert np.allclose(theirs(flower.Bulyan(num_malicious_nodes=F), rows), expected, atol=1e-5)
    ours = aggregate("bulyan", rows, byzantine=F).update
    assert np.allclose(ours, bulyan(rows, repeated=True), atol=1e-5)


def bulyan(rows, *, repeated):
    """Bulyan as its paper writes it, or with one selection."""
    squared = np.square(rows[:, None].astype(float) - rows).sum(axis=2)
    left, chosen = list(range(N)), []
    while len(chosen) < N - 2 * F:
        near = np.sort(squared[np.ix_(left, left)], axis=1)
        neighbours = max(len(left) - F - 2, 1)
        order = np.argsort(near[:, 1 : 1 + neighbours].sum(axis=1))
        if not repeated:
            chosen = [left[i] for i in order[: N - 2 * F]]
            break
        chosen.append(left.pop(int(order[0])))
    picked = rows[chosen]
    distance = np.abs(picked - np.median(picked, axis=0))
    nearest = np.argsort(distance, axis=0)[: N - 4 * F]
    return np.take_along_axis(picked, nearest, axis=0).mean(axis=0)


def optimized(strategy, rows, rounds=1):
    arrays = ArrayRecord({"w": Array(np.zeros((4, 6), np.float32))})
    for number in range(1, rounds + 1):
        strategy.current_arrays = {"w": arrays["w"].numpy()}
        arrays, _ = strategy.aggregate_train(number, replies_of(rows + arrays["w"].numpy().ravel()))
    return torch.from_numpy(arrays["w"].numpy().ravel().copy())


def ours_optimized(rows, optimizer, rounds=1):
    total, state = torch.zeros(24), None
    for _ in range(rounds):
        found = aggregate("mean", rows, optimizer=optimizer, state=state)
        total, state = total + found.update, found.state
    return total


def test_fedadagrad_is_flowers_from_tau_squared(rows):
    """Flower starts the squares at zero, the paper at tau squared."""
    ours = ours_optimized(rows, {"name": "fedadagrad", "rate": 0.1, "adaptivity": 1e-9}, 3)
    strategy = flower.FedAdagrad(eta=0.1, tau=1e-9)
    assert torch.allclose(ours, optimized(strategy, rows, 3), atol=1e-5)


def test_fedyogi_is_flowers_from_tau_squared(rows):
    ours = ours_optimized(rows, {"name": "fedyogi", "rate": 0.1, "adaptivity": 1e-9}, 3)
    strategy = flower.FedYogi(eta=0.1, beta_1=0.9, beta_2=0.99, tau=1e-9)
    assert torch.allclose(ours, optimized(strategy, rows, 3), atol=1e-4)


def test_fedadam_is_flowers_without_its_bias_correction(rows):
    ours = ours_optimized(rows, {"name": "fedadam", "rate": 0.1, "adaptivity": 1e-9})
    strategy = flower.FedAdam(eta=0.1, beta_1=0.9, beta_2=0.99, tau=1e-9)
    correction = float(np.sqrt(1 - 0.99**2) / (1 - 0.9**2))
    theirs_once = optimized(strategy, rows).float()
    assert torch.allclose(ours * correction, theirs_once, atol=1e-4)

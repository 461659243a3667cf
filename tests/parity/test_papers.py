"""Rules without an installable peer, against their papers' formulas in plain NumPy.

Where the authors have published code, its details count, and a test names what differs.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from strategies import aggregate
from tests.parity.make_clusters import rows_of

CLUSTERS = json.loads(Path(__file__).with_name("clusters.json").read_text())
SHAPES = ((5, 30, 0), (6, 40, 1), (9, 25, 2), (12, 60, 3), (15, 80, 4))


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{shape[0]} x {shape[1]}")
def rows(request):
    """Honest updates about 0.3, one backwards, one far too long, one tiny."""
    n, d, seed = request.param
    random = np.random.default_rng(seed)
    rows = random.normal(0.3, 1.0, (n, d))
    rows[0] = -rows[0]
    rows[1] *= 20
    rows[2] *= 0.01
    return rows.astype(np.float32).astype(np.float64)


def updated(name, rows, **settings):
    return aggregate(name, torch.from_numpy(rows).float(), **settings).update.double().numpy()


def cosines(rows):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


def clipped(rows, limit):
    return rows * np.minimum(1, limit / np.linalg.norm(rows, axis=1, keepdims=True))


def foolsgold_rates(history):
    """Algorithm 1 of Fung et al., as DistributedML/FoolsGold writes it."""
    n = len(history)
    similar = cosines(history) - np.eye(n)
    highest = similar.max(axis=1)
    for i in range(n):
        for j in range(n):
            if i != j and highest[i] < highest[j]:
                similar[i, j] *= highest[i] / highest[j]
    rates = np.clip(1 - similar.max(axis=1), 0, 1)
    rates /= rates.max()
    rates[rates == 1] = 0.99
    with np.errstate(divide="ignore"):
        return np.clip(np.log(rates / (1 - rates)) + 0.5, 0, 1)


def test_foolsgold_is_its_algorithm_over_three_rounds(rows):
    """The paper adds the scaled updates; here they are averaged by the rates."""
    random, history, state = np.random.default_rng(7), np.zeros_like(rows), None
    for _ in range(3):
        fresh = (rows + random.normal(0, 1.0, rows.shape)).astype(np.float32)
        history += fresh
        rates = foolsgold_rates(history)
        found = aggregate("foolsgold", torch.from_numpy(fresh), state=state)
        state = found.state
        assert np.allclose(found.influence, rates / rates.sum(), atol=1e-4)
        assert np.allclose(found.update, rates @ fresh / rates.sum(), atol=1e-4)


def test_fltrust_is_its_formula(rows):
    root = np.random.default_rng(5).normal(0.3, 1.0, rows.shape[1])
    total, trusted = np.zeros(rows.shape[1]), 0.0
    for row in rows:
        cosine = row @ root / np.linalg.norm(row) / np.linalg.norm(root)
        trust = max(cosine, 0.0)
        total += trust * np.linalg.norm(root) / np.linalg.norm(row) * row
        trusted += trust
    assert np.allclose(updated("fltrust", rows, root=root), total / trusted, atol=1e-5)


@pytest.mark.parametrize("seed", CLUSTERS)
def test_flame_is_its_algorithm_with_the_package_hdbscan(seed):
    """Cosines are those of updates, in the paper of models; no cluster means all, not none."""
    rows = rows_of(int(seed))
    kept = CLUSTERS[seed] or list(range(len(rows)))
    limit = np.median(np.linalg.norm(rows, axis=1))
    expected = clipped(rows, limit)[kept].mean(axis=0)
    assert np.allclose(updated("flame", rows, noise=0.0), expected, atol=1e-5)


def test_signguard_is_the_authors_code_on_all_coordinates(rows):
    """Theirs looks at a random window of a tenth, ours, as the paper, at random coordinates.

    It clips to the lower of the middle two norms where they are even, as torch's median. Which of
    two equally large clusters wins depends on the clients' order there; ours sorts them by value.
    """
    from sklearn.cluster import MeanShift, estimate_bandwidth

    lengths = np.linalg.norm(rows, axis=1)
    usual = np.median(lengths)
    features = np.stack([(np.sign(rows) == sign).mean(axis=1) for sign in (1, 0, -1)], axis=1)
    features /= features.max(axis=0) + 1e-8
    order = np.lexsort(features.T)
    width = estimate_bandwidth(features[order], quantile=0.5, n_samples=50)
    shift = MeanShift(bandwidth=width, bin_seeding=True, cluster_all=False).fit(features[order])
    largest = np.argmax([(shift.labels_ == i).sum() for i in range(len(shift.cluster_centers_))])
    usual_signs = np.empty(len(rows), dtype=bool)
    usual_signs[order] = shift.labels_ == largest
    kept = (lengths > 0.1 * usual) & (lengths < 3.0 * usual) & usual_signs
    expected = clipped(rows, usual)[kept].mean(axis=0)
    assert np.allclose(updated("signguard", rows, share=1.0), expected, atol=1e-5)


def test_robust_learning_rate_is_the_authors_code(rows):
    weights = np.arange(1.0, len(rows) + 1)
    threshold = math.ceil(0.4 * len(rows))
    agreed = np.abs(np.sign(rows).sum(axis=0))
    rate = np.where(agreed < threshold, -1.0, 1.0)
    found = updated("robust-learning-rate", rows, weights=weights)
    assert np.allclose(found, rate * (weights @ rows / weights.sum()), atol=1e-5)


def test_alignins_is_the_authors_code(rows):
    """Theirs clips to the lower of the middle two norms where they are even."""
    model = np.random.default_rng(3).normal(0.2, 1.0, rows.shape[1])
    majority = np.sign(np.sign(rows).sum(axis=0))
    towards, agreeing = [], []
    for row in rows:
        largest = np.argsort(-np.abs(row))[: int(0.3 * len(row))]
        agreeing.append((np.sign(row)[largest] == majority[largest]).mean())
        towards.append(row @ model / np.linalg.norm(row) / np.linalg.norm(model))
    kept = np.ones(len(rows), bool)
    for scores in (towards, agreeing):
        kept &= np.abs(scores - np.median(scores)) / np.std(scores) < 1.0
    limit = np.median(np.linalg.norm(rows[kept], axis=1)) if kept.any() else 0.0
    expected = clipped(rows, limit)[kept].mean(axis=0) if kept.any() else np.zeros(rows.shape[1])
    assert np.allclose(updated("alignins", rows, model=model), expected, atol=1e-5)


def test_norm_threshold_ignores_what_is_too_long(rows):
    lengths = np.linalg.norm(rows, axis=1)
    kept = lengths <= 3 * np.median(lengths)
    assert np.allclose(updated("norm-threshold", rows), rows[kept].mean(axis=0), atol=1e-5)


def line_of(values):
    """Siegel's repeated median: slope, and intercept through the medians."""
    n, ordered = len(values), np.sort(values)
    slopes = [
        np.median([(ordered[j] - ordered[i]) / (j - i) for j in range(n) if j != i])
        for i in range(n)
    ]
    slope = np.median(slopes)
    return slope, np.median(ordered) - slope * (n - 1) / 2


@pytest.mark.parametrize("compiled", [False, True])
def test_residual_is_the_authors_code(rows, compiled, monkeypatch):
    """Their lambda 2, threshold 0.1 and the square of the summed confidences."""
    from strategies.kernels import numba_sort as kernels

    if compiled and not kernels.available():
        pytest.skip("numba is not installed")
    monkeypatch.setattr("strategies.kernels.numba_line.LARGE", 0 if compiled else 2**60)
    n, d = rows.shape
    trust, restricted = np.zeros(n), rows.copy()
    for column in range(d):
        values = rows[:, column]
        slope, intercept = line_of(values)
        ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
        x = np.stack([np.ones(n), ranks], axis=1)
        free = np.sqrt(1 - np.diag(x @ np.linalg.inv(x.T @ x) @ x.T))
        errors = values - (intercept + slope * ranks)
        scale = 1.4826 * (1 + 5 / (n - 1)) * np.median(np.sort(np.abs(errors))[1:]) + 1e-7
        scaled, limit = errors / scale, 2 * np.sqrt(2 / n)
        with np.errstate(divide="ignore", invalid="ignore"):
            confidence = free / scaled * np.clip(scaled / free, -limit, limit)
        confidence[np.isnan(confidence)] = 1
        trust += confidence * confidence.std(ddof=1)
        restricted[confidence < 0.1, column] = (intercept + slope * ranks)[confidence < 0.1]
    weights = (trust / trust.max()) ** 2
    expected = weights @ restricted / weights.sum()
    assert np.allclose(updated("residual", rows), expected, atol=1e-4)

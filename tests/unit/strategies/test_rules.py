"""Rules against a few lines of NumPy that say what the paper says."""

import itertools

import numpy as np
import pytest
import torch

from fedsafe.errors import ConfigError
from strategies import aggregate
from strategies.rules.mda import _sets
from tests.properties.rounds import honest


@pytest.fixture
def rows():
    found = honest(10, 30, seed=4)
    found[:2] = honest(2, 30, seed=5) * 4 - 3
    return found


def variance(rows):
    """The largest in any direction."""
    return np.linalg.eigvalsh(np.atleast_2d(np.cov(rows.T, bias=True)))[-1]


def test_smea_finds_the_flattest_subset(rows):
    wide = rows.double().numpy()
    subsets = itertools.combinations(range(10), 8)
    best = min(subsets, key=lambda subset: variance(wide[list(subset)]))
    found = aggregate("smea", rows, byzantine=2)
    assert torch.nonzero(found.influence).flatten().tolist() == list(best)
    assert np.allclose(found.update, wide[list(best)].mean(axis=0), atol=1e-5)


def test_smea_refuses_to_look_for_ever():
    with pytest.raises(ConfigError, match="take rule 'caf'"):
        aggregate("smea", honest(40), byzantine=10)


@pytest.mark.parametrize("seed", range(6))
def test_caf_turns_down_what_stands_out(seed):
    rows = honest(10, 4, seed=seed)
    wide = rows.double().numpy()
    weights, best, smallest = np.ones(10), None, np.inf
    while weights.sum() > 6:
        mean = weights @ wide / weights.sum()
        offsets = wide - mean
        values, vectors = np.linalg.eigh((weights * offsets.T) @ offsets / weights.sum())
        if values[-1] < smallest:
            best, smallest = mean, values[-1]
        squared = (offsets @ vectors[:, -1]) ** 2
        weights = weights * np.clip(1 - squared / squared[weights > 0].max(), 0, None)
    assert np.allclose(aggregate("caf", rows, byzantine=2).update, best, atol=1e-5)


def test_dnc_drops_the_largest_projections(rows):
    offsets = (rows - rows.mean(dim=0)).double().numpy()
    scores = (offsets @ np.linalg.svd(offsets)[2][0]) ** 2
    kept = np.sort(np.argsort(scores)[:8])
    found = aggregate("dnc", rows, byzantine=2)
    assert torch.nonzero(found.influence).flatten().tolist() == kept.tolist()


def test_dnc_keeps_who_passes_most_where_nobody_passes_all():
    found = aggregate("dnc", honest(6, 400), byzantine=5, iterations=9, coordinates=5)
    assert float(found.influence.sum()) == pytest.approx(1)


def test_dnc_looks_at_other_coordinates_each_round():
    rows = honest(12, 100_000, shift=0)
    made = [
        aggregate("dnc", rows, byzantine=4, coordinates=50, round=number).influence
        for number in range(1, 4)
    ]
    assert not all(torch.equal(made[0], other) for other in made[1:])


def test_mda_agrees_with_all_subsets_on_larger_cohorts():
    rows = honest(14, 6, seed=1)
    squared = (rows[:, None].double() - rows).square().sum(dim=2).numpy()
    subsets = list(itertools.combinations(range(14), 9))
    widths = [squared[np.ix_(subset, subset)].max() for subset in subsets]
    found = torch.nonzero(aggregate("mda", rows, byzantine=5).influence).flatten().tolist()
    assert squared[np.ix_(found, found)].max() == pytest.approx(min(widths))


def test_mda_gives_up_with_a_sentence(monkeypatch):
    monkeypatch.setattr("strategies.rules.mda._BRANCHES", 3)
    with pytest.raises(ConfigError, match="found no best set"):
        aggregate("mda", honest(14, 6), byzantine=5)


def test_mda_takes_the_nearest_of_more_than_needed():
    squared = torch.zeros(4, 4).double()
    assert next(_sets(squared, 0.0, 3)) == [0, 1, 2, 3]
    assert aggregate("mda", torch.ones(5, 2), byzantine=2).influence.count_nonzero() == 3


def test_geometric_median_has_no_better_point_nearby(rows):
    wide = rows.double()
    found = aggregate("geometric-median", rows).update.double()

    def cost(point):
        return float((wide - point).norm(dim=1).sum())

    for step in honest(20, 30, shift=0).double() * 1e-2:
        assert cost(found) <= cost(found + step) + 1e-6


def test_geometric_median_may_be_one_of_the_rows():
    rows = torch.tensor([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    found = aggregate("geometric-median", rows)
    assert found.influence.tolist() == [1, 0, 0, 0, 0]
    heavy = aggregate("geometric-median", honest(5), [10, 1, 1, 1, 1])
    assert heavy.influence.tolist() == [1, 0, 0, 0, 0]


def test_centered_clipping_starts_from_the_last_aggregate(rows):
    state, position = None, np.zeros(30)
    for _ in range(3):
        found = aggregate("centered-clipping", rows, radius=1.5, iterations=2, state=state)
        state = found.state
        for _ in range(2):
            steps = rows.double().numpy() - position
            lengths = np.linalg.norm(steps, axis=1, keepdims=True)
            position = position + (steps * np.minimum(1, 1.5 / lengths)).mean(axis=0)
        assert np.allclose(found.update, position, atol=1e-5)


def test_foolsgold_rejects_clones_by_their_history():
    rows = honest(6, 50, shift=0)
    rows[1] = rows[0]
    first = aggregate("foolsgold", rows)
    assert first.influence[:2].tolist() == [0, 0]
    fresh = honest(6, 50, seed=9, shift=0)
    second = aggregate("foolsgold", fresh, state=first.state)
    alone = aggregate("foolsgold", fresh)
    assert second.influence[0] < alone.influence[0]


def test_foolsgold_may_keep_a_sketch_of_the_history():
    found = aggregate("foolsgold", honest(6, 5000), coordinates=101)
    assert {len(history) for history in found.state.values()} == {101}


def test_foolsgold_tells_clones_by_the_sketch_alone():
    rows = honest(6, 50_000, shift=0)
    rows[1] = rows[0]
    rows[3] = rows[2] + 0.1 * rows[3]
    first = aggregate("foolsgold", rows, coordinates=1001)
    second = aggregate("foolsgold", rows.flip(1), coordinates=1001, state=first.state)
    for found in (first, second):
        assert found.influence[:4].tolist() == [0] * 4
        assert bool((found.influence[4:] > 0.4).all())


def test_foolsgold_remembers_who_was_away_without_the_others():
    """A history kept as a view would hold its whole cohort's memory."""
    names = [f"client-{i}" for i in range(4)]
    first = aggregate("foolsgold", honest(4, 300), clients=names)
    second = aggregate("foolsgold", honest(2, 300), clients=names[:2], state=first.state)
    assert second.state.keys() == first.state.keys()
    kept = second.state["rule/client/client-0"]
    assert kept.untyped_storage().nbytes() == 4 * len(kept)


def test_fltrust_weighs_by_cosine_and_length():
    root = torch.tensor([2.0, 0.0])
    rows = torch.tensor([[1.0, 0.0], [-5.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    found = aggregate("fltrust", rows, root=root)
    assert found.influence.tolist() == pytest.approx([1 / 1.6, 0, 0.6 / 1.6, 0])
    expected = (torch.tensor([2.0, 0]) + 0.6 * torch.tensor([1.2, 1.6])) / 1.6
    assert torch.allclose(found.update, expected)
    assert not aggregate("fltrust", -rows[:1], root=root).update.any()


def test_flame_rejects_the_minority_that_points_elsewhere():
    rows = 0.2 * honest(9, 200, shift=0) + 1
    rows[:3] -= 2
    found = aggregate("flame", rows, noise=0.0)
    assert not found.influence[:3].any()
    assert int((found.influence[3:] > 0).sum()) >= 5
    noisy = aggregate("flame", rows, noise=0.1)
    blur = float((noisy.update - found.update).std())
    assert blur == pytest.approx(0.1 * found.metrics["limit"], rel=0.3)


def test_flame_takes_two_clients_as_they_are():
    assert bool((aggregate("flame", honest(2), noise=0.0).influence > 0).all())


def test_signguard_rejects_odd_norms_and_odd_signs():
    rows = honest(10, 4000, shift=0.3)
    rows[0] *= 100
    rows[1] = -rows[1]
    found = aggregate("signguard", rows, share=1.0)
    assert not found.influence[:2].any()
    assert bool((found.influence[2:] > 0).all())


def test_signguard_asks_for_a_fourth_client():
    """With three the bandwidth of its clusters is 0 and each client a cluster of its own."""
    with pytest.raises(ConfigError, match="'signguard' needs n >= 4 clients; got n=3"):
        aggregate("signguard", honest(3, 30))


@pytest.mark.parametrize("n", [4, 5, 6, 8])
def test_signguard_never_keeps_the_attackers_alone(n):
    for seed in range(20):
        rows = honest(n, 500, seed)
        rows[0] *= -1
        assert bool(aggregate("signguard", rows, share=1.0).influence[1:].any())


def test_signguard_keeps_all_whose_norm_is_usual_where_every_client_has_a_twin():
    one, other = honest(2, 60)
    found = aggregate("signguard", torch.stack([one, other, one, other]), share=1.0)
    assert found.influence.count_nonzero() == 4


def test_signguard_is_zero_where_no_norm_passes():
    found = aggregate("signguard", honest(5, 60), lowest=0.0, highest=0.01)
    assert not found.update.any()
    assert not found.influence.any()


def test_signguard_lets_norms_decide_where_no_cluster_passes():
    rows = torch.cat([torch.full((3, 50), 100.0), honest(4, 50, shift=0) * 0.01])
    assert torch.isfinite(aggregate("signguard", rows, highest=1.0).update).all()


def test_robust_learning_rate_turns_disputed_coordinates():
    rows = torch.tensor([[1.0, 1.0], [2.0, -1.0], [3.0, 2.0], [4.0, -1.5]])
    found = aggregate("robust-learning-rate", rows, agreement=0.5)
    assert found.update.tolist() == pytest.approx([2.5, -0.125])
    assert found.metrics["turned"] == 0.5


def test_norm_threshold_rejects_what_is_long():
    rows = torch.eye(4) * torch.tensor([1.0, 1.0, 2.0, 9.0])
    assert aggregate("norm-threshold", rows).influence.tolist() == pytest.approx([1 / 3] * 3 + [0])
    assert aggregate("norm-threshold", rows, limit=1.5).influence[2:].tolist() == [0, 0]
    assert not aggregate("norm-threshold", rows, limit=0.5).update.any()


def test_alignins_rejects_the_other_way_round():
    model = honest(1, 400, shift=0)[0]
    rows = 0.3 * honest(10, 400, seed=3, shift=0) + model
    rows[0] = -rows[0]
    found = aggregate("alignins", rows, model=model, direction=2.0, signs=2.0)
    assert found.influence[0] == 0
    assert bool((found.influence[1:] > 0).all())
    assert not aggregate("alignins", rows, model=model, direction=1e-9).update.any()


def test_alignins_samples_its_threshold_of_many_coordinates(monkeypatch):
    monkeypatch.setattr("strategies.rules.alignins._SAMPLE", 2**15)
    rows = honest(5, 140_000)
    assert torch.isfinite(aggregate("alignins", rows, model=rows[0]).update).all()


def test_residual_trusts_an_outlier_least():
    rows = 0.1 * honest(7, 300, shift=0)
    rows[2] += 100
    found = aggregate("residual", rows)
    assert int(found.influence.argmin()) == 2
    assert float(found.update.norm()) < 0.01 * float(rows[2].norm())
    plain = aggregate("residual", rows, power=1).influence
    expected = plain.square() / plain.square().sum()
    assert torch.allclose(found.influence, expected, atol=1e-5)


def test_reference_residual_is_the_mean_of_three():
    rows = honest(3, 50)
    rows[0] += 1000
    found = aggregate("reference-residual", rows)
    assert torch.allclose(found.update, rows.mean(dim=0), rtol=1e-4)


def test_reference_foolsgold_keeps_only_the_odd_one():
    """Two alike and one odd: the reference rejects the two."""
    rows = honest(3, 500, shift=0)
    rows[1] = rows[0]
    assert aggregate("reference-foolsgold", rows).influence.tolist() == pytest.approx([0, 0, 1])


def test_geometric_median_stops_after_so_many_steps(monkeypatch, rows):
    monkeypatch.setattr("strategies.rules.geometric_median._STEPS", 2)
    assert aggregate("geometric-median", rows).metrics["steps"] == 2


def test_caf_of_equal_rows_is_that_row():
    for value in (2.0, 0.0):
        found = aggregate("caf", torch.full((7, 3), value), byzantine=2)
        assert found.update.tolist() == pytest.approx([value] * 3)


def test_smea_looks_at_subsets_in_batches(monkeypatch, rows):
    whole = aggregate("smea", rows, byzantine=2)
    monkeypatch.setattr("strategies.rules.spectral._ELEMENTS", 3 * 64)
    assert torch.equal(aggregate("smea", rows, byzantine=2).influence, whole.influence)

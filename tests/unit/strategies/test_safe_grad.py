"""Gradient surgery of updates against the server's safety update."""

import pytest
import torch

from fedsafe.contracts import Updates, filters
from fedsafe.errors import ConfigError
from fedsafe.experiment.load import validate


def _round(rows, root, **more):
    n = len(rows)
    return Updates(torch.tensor(rows), torch.full((n,), 1 / n), root=root, **more)


def _filtered(updates, **settings):
    return filters["safe-grad"].configure(settings)(updates)


def test_conflicting_component_goes_and_the_rest_stays():
    updates = _round([[-1.0, 2.0], [1.0, 2.0], [0.0, 3.0]], torch.tensor([2.0, 0.0]))
    assert _filtered(updates).matrix.tolist() == [[0.0, 2.0], [1.0, 2.0], [0.0, 3.0]]


def test_strength_removes_a_share_of_it():
    updates = _round([[-1.0, 2.0]], torch.tensor([2.0, 0.0]))
    assert _filtered(updates, strength=0.25).matrix.tolist() == [[-0.75, 2.0]]


def test_each_tensor_has_a_conflict_of_its_own():
    blocks = {"a": slice(0, 1), "b": slice(1, 2)}
    updates = _round([[-1.0, 3.0]], torch.tensor([1.0, 1.0]), blocks=blocks)
    assert _filtered(updates).matrix.tolist() == [[-1.0, 3.0]]
    assert _filtered(updates, per="tensor").matrix.tolist() == [[0.0, 3.0]]


def test_no_update_points_against_safety_afterwards():
    draw = torch.Generator().manual_seed(0)
    root = torch.randn(50, generator=draw)
    updates = _round(torch.randn(9, 50, generator=draw).tolist(), root)
    assert float((_filtered(updates).matrix @ root).min()) > -1e-4


@pytest.mark.parametrize("name", [name for name in filters if filters[name].card])
def test_filter_of_zero_strength_returns_the_very_updates(name):
    updates = _round([[-1.0, 2.0]], torch.tensor([2.0, 0.0]))
    assert filters[name].configure(filters[name].card.nothing)(updates).matrix is updates.matrix


def test_experiment_without_safety_examples_is_a_sentence():
    given = {"federation": {"strategy": {"name": "mean", "filters": ["safe-grad"]}}}
    with pytest.raises(ConfigError, match="'safe-grad' compares updates with one that the server"):
        validate(given)

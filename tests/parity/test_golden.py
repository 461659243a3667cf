"""What ByzFL and the reference system answer, recorded by make_golden.py."""

import json
from pathlib import Path

import pytest
import torch

from strategies import aggregate

CASES = json.loads(Path(__file__).with_name("golden.json").read_text())
F_RULES = ["trimmed-mean", "mda", "meamed"]


@pytest.fixture(params=CASES, ids=lambda case: f"n={len(case['rows'])}, f={case['f']}")
def case(request):
    return request.param


def close(found, expected, tolerance=1e-5):
    return torch.allclose(found, torch.tensor(expected), rtol=tolerance, atol=tolerance)


def rows_of(case):
    return torch.tensor(case["rows"])


@pytest.mark.parametrize("name", ["mean", "median", "geometric-median"])
def test_rule_agrees_with_byzfl(name, case):
    assert close(aggregate(name, rows_of(case)).update, case["byzfl"][name])


@pytest.mark.parametrize("name", F_RULES)
def test_rule_with_f_agrees_with_byzfl(name, case):
    found = aggregate(name, rows_of(case), byzantine=case["f"])
    assert close(found.update, case["byzfl"][name])


def test_centered_clipping_agrees_with_byzfl(case):
    found = aggregate("centered-clipping", rows_of(case), radius=2.0, iterations=3)
    assert close(found.update, case["byzfl"]["centered-clipping"])


@pytest.mark.parametrize("name", ["krum", "multi-krum"])
def test_krum_is_byzfls_with_one_neighbour_less(name, case):
    """ByzFL sums n - f - 1 distances, the paper n - f - 2: their f + 1, but for the mean."""
    rows, f = rows_of(case), case["f"]
    ours = aggregate(name, rows, byzantine=f)
    squared = (rows[:, None] - rows).square().sum(dim=2)
    theirs = squared.sort(dim=1).values[:, 1 : len(rows) - f].sum(dim=1)
    paper = squared.sort(dim=1).values[:, 1 : len(rows) - f - 1].sum(dim=1)
    keep = 1 if name == "krum" else len(rows) - f
    assert close(rows[theirs.argsort()[:keep]].mean(dim=0), case["byzfl"][name])
    assert close(ours.update, rows[paper.argsort()[:keep]].mean(dim=0).tolist())


@pytest.mark.parametrize("name", ["nnm", "arc"])
def test_filter_agrees_with_byzfl(name, case):
    for row in range(len(case["rows"])):
        weights = [float(other == row) for other in range(len(case["rows"]))]
        filters = [{"name": name, "byzantine": case["f"]}]
        found = aggregate("mean", rows_of(case), weights, filters=filters)
        assert close(found.update, case["byzfl"][name][row])


def test_clipping_agrees_with_byzfl(case):
    expected = torch.tensor(case["byzfl"]["clip"]).mean(dim=0)
    found = aggregate("mean", rows_of(case), filters=[{"name": "clip", "norm": 2.0}])
    assert close(found.update, expected.tolist())


@pytest.mark.parametrize("name", list(CASES[0]["reference"]))
def test_reference_rule_computes_what_the_reference_does(name, case):
    asks = name in ("reference-krum", "reference-dnc")
    settings = {"byzantine": case["f"]} if asks else {}
    found = aggregate(name, rows_of(case), **settings)
    assert close(found.update, case["reference"][name], 1e-4)

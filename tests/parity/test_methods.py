"""What the authors' public code computes on small inputs, as numbers in methods/.

Each case names its source: repository, commit, file, function. A test names where a rule of
ours differs on purpose; the rule's docstring says why.
"""

import json
from pathlib import Path

import pytest
import torch

from strategies import aggregate
from strategies.kernels.gram_matrix import measure
from strategies.kernels.update_matrix import Rows
from strategies.rules.krum import krum_scores

FOLDER = Path(__file__).with_name("methods")
REFERENCE = {
    "fedavg": "mean",
    "median": "reference-median",
    "trimmedmean": "reference-trimmed-mean",
    "krum": "reference-krum",
    "foolsgold": "reference-foolsgold",
    "residual": "reference-residual",
    "dnc": "reference-dnc",
}


def cases(topic, having=(), lacking=()):
    """Return a topic's cases that have some outputs and lack others."""
    return [
        pytest.param(case, id=case["id"])
        for case in json.loads((FOLDER / f"{topic}.json").read_text())
        if all(key in case for key in having) and not any(key in case for key in lacking)
    ]


def tensor(values):
    return torch.tensor(values, dtype=torch.float32)


def close(found, expected, tolerance=1e-5):
    size = max(map(abs, expected))
    return torch.allclose(found, tensor(expected), rtol=tolerance, atol=tolerance * size)


def agrees(case):
    """Tell whether FLAME's public code keeps the same clients, for all its other distances."""
    return case["kept"] == case["precomputed_updates"]["kept"]


def kept(found):
    return torch.nonzero(found.influence).flatten().tolist()


@pytest.mark.parametrize("case", cases("alignins"))
def test_alignins_keeps_whom_the_authors_code_keeps_and_clips_to_the_true_median(case):
    settings = {"direction": case["lambda_c"], "signs": case["lambda_s"], "share": case["sparsity"]}
    model = tensor(case["model"])
    found = aggregate("alignins", tensor(case["rows"]), model=model, **settings)
    assert kept(found) == case["kept"]
    assert close(found.update, case["update_with_true_median"])


@pytest.mark.parametrize("case", cases("dnc"))
def test_dnc_is_the_reference_s_on_all_coordinates(case):
    settings = {"byzantine": case["m"], "filter_factor": case["c"]}
    found = aggregate("dnc", tensor(case["rows"]), iterations=case["iterations"], **settings)
    assert kept(found) == case["kept"]
    assert close(found.update, case["update"])


@pytest.mark.parametrize("case", cases("flame"))
def test_flame_clusters_by_the_distances_and_not_by_the_rows_of_their_matrix(case):
    """The public code is a third party's, and takes rows of the distance matrix for points."""
    found = aggregate("flame", tensor(case["rows"]), noise=case["noise"])
    assert kept(found) == case["precomputed_updates"]["kept"]
    assert close(found.update, case["precomputed_updates"]["update"])


@pytest.mark.parametrize("case", [case for case in cases("flame") if agrees(case.values[0])])
def test_flame_clips_each_client_by_its_own_norm(case):
    """The public code clips the i-th kept client by the norm of client i."""
    found = aggregate("flame", tensor(case["rows"]), noise=case["noise"])
    assert close(found.update, case["update_by_the_paper_given_kept"])


@pytest.mark.parametrize("case", cases("fltrust"))
def test_fltrust_is_the_authors_code(case):
    found = aggregate("fltrust", tensor(case["rows"]), root=tensor(case["root"]))
    assert close(found.update, case["update"])


@pytest.mark.parametrize("case", cases("foolsgold", ["normalised_update"]))
def test_foolsgold_has_the_authors_learning_rates_and_divides_by_their_sum(case):
    found = aggregate("foolsgold", tensor(case["rows"]))
    rates = case["learning_rates"]
    assert close(found.influence, [rate / sum(rates) for rate in rates], 1e-4)
    assert close(found.update, case["normalised_update"], 1e-4)


@pytest.mark.parametrize("case", cases("foolsgold", lacking=["normalised_update", "update"]))
def test_foolsgold_is_zero_where_the_authors_code_is_not_a_number(case):
    assert set(case["learning_rates"]) == {"nan"}
    assert not aggregate("foolsgold", tensor(case["rows"])).update.any()


@pytest.mark.parametrize("case", cases("foolsgold", ["update"]))
def test_reference_foolsgold_is_the_reference_s(case):
    found = aggregate("reference-foolsgold", tensor(case["rows"]))
    assert close(found.update, case["update"], 1e-4)


@pytest.mark.parametrize("case", cases("ndss21-rules"))
def test_krum_is_that_of_ndss21_with_one_neighbour_more(case):
    """Their code counts a client among its own neighbours: our Krum at f + 1."""
    found = aggregate("krum", tensor(case["rows"]), byzantine=case["f"] + 1)
    assert kept(found) == case["krum_chosen"]
    assert close(found.update, case["krum"], 1e-4)


@pytest.mark.parametrize("case", cases("ndss21-rules"))
def test_iterated_krum_of_ndss21_follows_from_our_scores(case):
    """Their Multi-Krum scores again after each choice, as Bulyan, down to 2f + 2 rows."""
    squared = measure(Rows(tensor(case["rows"]))).squared_distances()
    left, chosen = list(range(len(squared))), []
    while len(left) > 2 * case["f"] + 2:
        scores = krum_scores(squared[left][:, left], case["f"] + 1)
        chosen.append(left.pop(int(scores.argmin())))
    assert chosen == case["iterated_chosen"]


@pytest.mark.parametrize("case", cases("ndss21-rules"))
def test_trimmed_mean_is_that_of_ndss21(case):
    found = aggregate("trimmed-mean", tensor(case["rows"]), byzantine=case["f"])
    assert close(found.update, case["trimmed_mean"], 1e-4)


@pytest.mark.parametrize("case", cases("residual", ["weights_over_their_largest"]))
def test_residual_is_the_authors_code(case):
    settings = {"sharpness": case["lambda"], "threshold": case["threshold"]}
    found = aggregate("residual", tensor(case["rows"]), **settings)
    largest = found.influence / found.influence.max()
    assert close(largest, case["weights_over_their_largest"], 1e-4)
    assert close(found.update, case["update"], 1e-4)


@pytest.mark.parametrize("case", cases("residual", ["weights"]))
def test_reference_residual_is_the_reference_s(case):
    settings = {"sharpness": case["lambda"], "threshold": case["threshold"]}
    found = aggregate("reference-residual", tensor(case["rows"]), **settings)
    assert close(found.influence, case["weights"], 1e-4)
    assert close(found.update, case["update"], 1e-4)


@pytest.mark.parametrize("case", cases("signguard", ["kept"]))
def test_signguard_keeps_whom_the_authors_code_keeps_and_clips_to_the_true_median(case):
    block = tensor(case["rows_repeat_this_10_times"])
    found = aggregate("signguard", block.repeat(1, 10), share=1.0)
    assert kept(found) == case["kept"]
    expected = case["first_tenth_by_the_paper_given_kept"]
    assert close(found.update[: block.shape[1]], expected)


@pytest.mark.parametrize("case", cases("signguard", ["authors_error"]))
def test_signguard_goes_by_the_norms_where_the_authors_code_fails(case):
    """The bandwidth of its clusters is 0 there."""
    block = tensor(case["rows_repeat_this_10_times"])
    found = aggregate("signguard", block.repeat(1, 10), share=1.0)
    assert kept(found) == list(range(len(block)))


@pytest.mark.parametrize("case", cases("reference-aggregation"))
def test_reference_rule_is_the_released_aggregation(case):
    name, sizes = REFERENCE[case["fed_alg"]], tensor(case["sample_sizes"])
    asks = name in ("reference-krum", "reference-dnc")
    settings = {"byzantine": case["attackers_the_rule_expects"]} if asks else {}
    found = aggregate(name, tensor(case["updates"]), sizes / sizes.sum(), **settings)
    assert close(found.update, case["aggregate_minus_global"], 1e-4)

"""What the authors' public code computes of weight edits, as numbers in methods/.

Each case names its source: repository, commit, file, function, licence. Safe LoRA's and
Antidote's, MergeLM's DARE, the SNIP set difference of Wei et al.; RESTA is composed of MergeLM's.
"""

import pytest
import torch
from safetensors.torch import save_file

from fedsafe.contracts import Updates, filters
from fedsafe.weights.edits import (
    dare,
    drop_smallest,
    least_aligned,
    safe_projection,
    set_difference,
    snip_scores,
    wanda_mask,
)
from fedsafe.weights.vectorize import blocks, flat, moved
from tests.parity.test_methods import cases, tensor

CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def _is(found, expected):
    return torch.allclose(found, tensor(expected), **CLOSE)


@pytest.mark.parametrize("case", cases("safe-lora"))
def test_safe_lora_projects_what_the_authors_code_projects(case):
    after, cosines = {}, {}
    for name, b in case["lora_B"].items():
        v = tensor(case["aligned"][f"{name}.weight"]) - tensor(case["base"][f"{name}.weight"])
        after[name], cosines[name] = safe_projection(tensor(b), tensor(case["lora_A"][name]), v)
    chosen = least_aligned(cosines, case["select"], case["value"])
    assert chosen == case["projected"]
    assert cosines == pytest.approx(case["cosines_rounded_to_5"], abs=1e-6)
    for name, b in case["lora_B"].items():
        assert _is(after[name] if name in chosen else tensor(b), case["lora_B_after"][name])


def test_change_of_zero_is_as_little_aligned_as_cosine_similarity_says() -> None:
    """The authors' code takes PyTorch's cosine, which is 0 there: the module takes a place."""
    v, zero = torch.ones(3, 3), torch.zeros(3, 1)
    after, cosine = safe_projection(zero, torch.ones(1, 3), v)
    known = torch.nn.functional.cosine_similarity(v.reshape(1, -1), torch.zeros(1, 9))
    assert (cosine, after.tolist()) == (float(known), zero.tolist())
    assert safe_projection(torch.ones(3, 1), torch.ones(1, 3), torch.zeros(3, 3))[1] == 1.0


def test_change_that_the_alignment_does_not_touch_is_projected_to_nothing() -> None:
    v = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    b = torch.tensor([[0.0], [1.0], [2.0]])
    after, cosine = safe_projection(b, torch.ones(1, 2), v)
    assert (after.tolist(), cosine) == ([[0.0], [0.0], [0.0]], 0.0)


@pytest.mark.parametrize("select", ["number", "threshold"])
def test_adapter_without_modules_has_none_to_project(select) -> None:
    assert least_aligned({}, select, 1) == []


@pytest.mark.parametrize("case", cases("safe-lora"))
def test_filter_projects_a_first_update_as_the_authors_code_an_adapter(case, tmp_path):
    """B is zero where a federation begins; one client of two trained what the case has."""
    for side in ("base", "aligned"):
        directory = tmp_path / side
        directory.mkdir()
        (directory / "config.json").write_text("{}")
        weights = {name: tensor(values) for name, values in case[side].items()}
        save_file(weights, directory / "model.safetensors")
    sent, trained = {}, {}
    for name, b in sorted(case["lora_B"].items()):
        a, module = tensor(case["lora_A"][name]), f"base_model.model.{name}"
        sent[f"{module}.lora_A.weight"] = trained[f"{module}.lora_A.weight"] = a
        sent[f"{module}.lora_B.weight"] = torch.zeros_like(tensor(b))
        trained[f"{module}.lora_B.weight"] = tensor(b)
    update = flat(trained) - flat(sent)
    shapes = {name: tuple(one.shape) for name, one in sent.items()}
    updates = Updates(
        torch.stack([update, torch.zeros_like(update)]), torch.full((2,), 0.5), blocks(sent),
        model=flat(sent), shapes=shapes,
    )  # fmt: skip
    value = {"number": "number", "threshold": "threshold"}[case["select"]]
    made = {"aligned": tmp_path / "aligned", "unaligned": tmp_path / "base"}
    made |= {"select": case["select"], value: case["value"]}
    found = filters["safe-lora"].configure(made)(updates).matrix
    after = moved(sent, found[0])
    for name, expected in case["lora_B_after"].items():
        assert _is(after[f"base_model.model.{name}.lora_B.weight"], expected)
    assert not found[1].any()


@pytest.mark.parametrize("case", cases("dare-task-vectors", having=["dropped_mask"]))
def test_dare_is_the_authors_given_their_draw(case):
    drawn = tensor(case["dropped_mask"])
    found = dare(tensor(case["delta"]), case["drop_rate"], rescale=case["rescale"], dropped=drawn)
    assert _is(found, case["out"])


@pytest.mark.parametrize("case", cases("dare-task-vectors", ["out"], ["dropped_mask"]))
def test_magnitude_drop_is_the_authors(case):
    found = drop_smallest(tensor(case["delta"]), case["drop_rate"], rescale=case["rescale"])
    assert _is(found, case["out"])


@pytest.mark.parametrize("case", cases("dare-task-vectors", having=["gamma"]))
@pytest.mark.parametrize("block", ["a", "b"])
def test_both_readings_of_resta_are_the_task_vectors(case, block):
    names = ("base", "fine_tuned", "unaligned", "aligned")
    base, tuned, unaligned, aligned = (tensor(case[name][block]) for name in names)
    rate, vector = case["drop_rate"], case["gamma"] * (aligned - unaligned)
    task, safety = (
        tensor(case[f"dropped_mask_of_{which}_vector"][block]) for which in ("task", "safety")
    )
    plain, on_task = case["resta_without_dare"], case["resta_with_dare_on_the_task_vector"]
    on_safety = case["variant_with_dare_on_the_safety_vector"]
    assert _is(tuned + vector, plain[block])
    assert _is(base + dare(tuned - base, rate, dropped=task) + vector, on_task[block])
    assert _is(tuned + dare(vector, rate, dropped=safety), on_safety[block])


@pytest.mark.parametrize("case", cases("antidote"))
def test_antidote_masks_each_row_of_both_factors_as_the_authors_code(case):
    for module in case["modules"].values():
        weight, inputs = tensor(module["weight"]), tensor(module["inputs_of_each_sample"])
        norms = inputs.square().sum(dim=1).mean(dim=0).sqrt()
        mask = wanda_mask(weight, norms, case["dense_ratio"])
        assert mask.int().tolist() == module["harmful_mask"]
        assert _is(weight * ~mask, module["weight_after"])


@pytest.mark.parametrize("case", cases("snip-set-difference"))
def test_set_difference_of_snip_scores_is_the_authors(case):
    weight = tensor(case["weight"])
    utility, safety = (
        snip_scores(weight, tensor(case[f"sum_of_absolute_gradients_{of}"]))
        for of in ("utility", "safety")
    )
    assert _is(utility, case["snip_score_utility"])
    assert _is(safety, case["snip_score_safety"])
    mask = set_difference(safety, utility, case["q_safety"], case["p_utility"])
    assert mask.tolist() == tensor(case["difference_mask_safety_without_utility"]).bool().tolist()
    assert _is(weight * ~mask, case["weight_after_zeroing"])

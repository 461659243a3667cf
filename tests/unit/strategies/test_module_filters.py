"""Filters with an alignment direction: Safe LoRA, AsFT, SafeGrad, and the safety client."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig
from safetensors.torch import save_file

from fedsafe.contracts import Updates, filters
from fedsafe.errors import ConfigError, ModelError
from fedsafe.experiment.load import validate
from fedsafe.weights.vectorize import blocks, flat, moved
from strategies import aggregate, build

MODULES = {"base_model.model.layers.0.q": (6, 5), "base_model.model.layers.0.v": (4, 5)}
RANK = 2
ON_A_DIRECTION = ["safe-grad", "safe-lora", "asft", "safety-client"]
FILE = {"safe-grad": "direction", "safety-client": "adapter"}
"""Setting that names an adapter, where it is not ``aligned``."""


def _adapter(seed, b=1.0):
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for module, (out, size) in MODULES.items():
        found[f"{module}.lora_A.weight"] = torch.randn(RANK, size, generator=draw)
        found[f"{module}.lora_B.weight"] = b * torch.randn(out, RANK, generator=draw)
    return found


def _saved(directory, tensors):
    LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=["q", "v"]).save_pretrained(directory)
    save_file(tensors, directory / "adapter_model.safetensors")
    return directory


def _round(sent, rows, **more):
    shapes = {name: tuple(one.shape) for name, one in sent.items()}
    n = len(rows)
    return Updates(
        rows, torch.full((n,), 1 / n), blocks(sent), model=flat(sent), shapes=shapes, **more
    )


def _rows(seed, n=3, only=""):
    """Random updates, of the factors with this in their names alone."""
    parts = _adapter(0)
    rows = torch.randn(n, len(flat(parts)), generator=torch.Generator().manual_seed(seed))
    for name, part in blocks(parts).items():
        if only not in name:
            rows[:, part] = 0
    return rows


def _product(tensors, module):
    return tensors[f"{module}.lora_B.weight"] @ tensors[f"{module}.lora_A.weight"]


def _change(sent, update, module):
    return _product(moved(sent, update), module) - _product(sent, module)


def _filtered(name, updates, **given):
    return filters[name].configure(given)(updates).matrix


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), strength=st.floats(0.1, 1))
def test_asft_takes_off_what_is_outside_the_direction(seed, strength):
    """Where clients leave A alone the edited change is D - strength (I - C) D to the last bits."""
    sent, root = _adapter(seed), _rows(seed + 1, 1, "lora_B")[0]
    updates = _round(sent, _rows(seed, only="lora_B"), root=root)
    found = _filtered("asft", updates, strength=strength, projection="orthogonal")
    for module in MODULES:
        basis, _ = torch.linalg.qr(
            _change(sent, root, module).double() @ torch.randn(5, RANK).double()
        )
        for before, after in zip(updates.matrix, found, strict=True):
            change = _change(sent, before, module).double()
            inside = basis @ (basis.T @ change)
            expected = change - strength * (change - inside)
            assert torch.allclose(_change(sent, after, module).double(), expected, atol=1e-4)


@pytest.mark.parametrize("projection", ["paper", "orthogonal"])
def test_where_a_moved_b_takes_the_nearest_change(projection):
    """What is left over has no part that another B could take: it is orthogonal to A's rows."""
    sent, rows = _adapter(3), _rows(4)
    root = _rows(5, 1)[0]
    updates = _round(sent, rows, root=root)
    found = _filtered("asft", updates, projection=projection)
    for module in MODULES:
        v = _change(sent, root, module).double()
        if projection == "paper":
            inside = v @ v.T / v.norm()
        else:
            u, sizes, _ = torch.linalg.svd(v)
            u = u[:, : int((sizes > 1e-4).sum())]
            inside = u @ u.T
        for before, after in zip(rows, found, strict=True):
            wanted = inside @ _change(sent, before, module).double()
            missing = _change(sent, after, module).double() - wanted
            a = moved(sent, after)[f"{module}.lora_A.weight"].double()
            assert torch.equal(a.float(), moved(sent, before)[f"{module}.lora_A.weight"])
            assert float((missing @ a.T).abs().max()) < 1e-4


def test_safe_lora_projects_only_the_modules_of_the_smallest_cosines_of_each_client():
    sent = _adapter(0, b=0.0)
    updates = _round(sent, _rows(1), root=_rows(2, 1)[0])
    found = _filtered("safe-lora", updates, number=1)
    b = {name: part for name, part in updates.blocks.items() if "lora_B" in name}
    changed = [
        [name for name, part in b.items() if not torch.equal(row[part], old[part])]
        for row, old in zip(found, updates.matrix, strict=True)
    ]
    assert [len(names) for names in changed] == [1, 1, 1]
    a = [part for name, part in updates.blocks.items() if "lora_A" in name]
    assert all(torch.equal(found[:, part], updates.matrix[:, part]) for part in a)


def test_update_along_the_direction_alone_is_not_against_safe_grad(tmp_path):
    """To the first order no update moves the weights against the direction of the adapters."""
    aligned, unaligned, sent = _adapter(1), _adapter(2), _adapter(3)
    rows = 1e-3 * _rows(4, 8)
    given = {"direction": _saved(tmp_path / "safe", aligned)}
    given["unaligned"] = _saved(tmp_path / "unsafe", unaligned)
    v = {
        module: 2 * (_product(aligned, module) - _product(unaligned, module)) for module in MODULES
    }

    def along(update):
        return sum(float((_change(sent, update, m) * v[m]).sum()) for m in MODULES)

    found = _filtered("safe-grad", _round(sent, rows), **given)
    assert min(along(row) for row in rows) < -1e-3
    assert min(along(row) for row in found) > -1e-4
    kept = [along(row) > 1e-4 for row in rows]
    assert torch.equal(found[kept], rows[kept])


@pytest.mark.parametrize("adapter", [True, False])
def test_mean_with_a_safety_client_is_the_weighted_merge(tmp_path, adapter):
    sent, safety, rows = _adapter(1), _adapter(2), _rows(3)
    given = {"weight": 0.25}
    given |= {"adapter": _saved(tmp_path / "safe", safety)} if adapter else {}
    updates = _round(sent, rows, root=flat(safety) - flat(sent))
    found = build("mean", [{"name": "safety-client", **given}])(updates)
    merged = 0.75 * (flat(sent) + rows.mean(dim=0)) + 0.25 * flat(safety)
    assert torch.allclose(flat(sent) + found.update, merged, atol=1e-5)
    assert found.influence.tolist() == pytest.approx([0.25] * 3)


def test_robust_rule_may_reject_the_safety_client():
    sent, rows = _adapter(1), 0.01 * _rows(3, 6)
    updates = _round(sent, rows, root=100 * torch.ones(rows.shape[1]))
    found = build({"name": "multi-krum", "byzantine": 1}, ["safety-client"])(updates)
    assert float(found.influence.sum()) == pytest.approx(1.0)
    assert float(found.update.abs().max()) < 1


@pytest.mark.parametrize("name", ON_A_DIRECTION)
def test_directory_stands_in_for_the_servers_examples(name, tmp_path):
    where = str(_saved(tmp_path / "safe", _adapter(1)))
    strategy = {"name": "mean", "filters": [{"name": name, FILE.get(name, "aligned"): where}]}
    assert validate({"federation": {"strategy": strategy}})
    strategy["filters"] = [name]
    with pytest.raises(ConfigError, match=f"'{name}' compares updates with one that the server"):
        validate({"federation": {"strategy": strategy}})


@pytest.mark.parametrize("name", ON_A_DIRECTION)
def test_directory_that_holds_nothing_is_a_sentence(name, tmp_path):
    setting = FILE.get(name, "aligned")
    strategy = {"name": "mean", "filters": [{"name": name, setting: str(tmp_path)}]}
    with pytest.raises(ConfigError, match=rf"{setting} {tmp_path} holds n"):
        validate({"federation": {"strategy": strategy}})
    with pytest.raises((ConfigError, ModelError), match=r"holds n|There is no"):
        _filtered(name, _round(_adapter(0), _rows(1)), **{setting: tmp_path / "nowhere"})


@pytest.mark.parametrize("name", ON_A_DIRECTION)
def test_adapter_of_another_model_is_a_sentence(name, tmp_path):
    other = {f"base_model.model.layers.0.q.lora_{x}.weight": torch.ones(3, 3) for x in "AB"}
    where = _saved(tmp_path / "other", other)
    given = {FILE.get(name, "aligned"): where}
    with pytest.raises(ConfigError, match="federation"):
        _filtered(name, _round(_adapter(0), _rows(1)), **given)


@pytest.mark.parametrize("name", ["safe-lora", "asft"])
def test_filter_of_modules_does_not_work_tensor_by_tensor(name):
    with pytest.raises(ConfigError, match=f"'{name}' works on LoRA modules"):
        build("mean", [name], per_block=True)
    strategy = {"name": "mean", "filters": [name], "per_block": True}
    with pytest.raises(ConfigError, match=f"'{name}' works on LoRA modules"):
        validate({"federation": {"strategy": strategy, "root": {"name": "micro-safety"}}})


def test_modules_are_told_by_shapes_in_the_api():
    sent, rows, root = _adapter(1), _rows(2), _rows(3, 1)[0]
    shapes = {name: tuple(one.shape) for name, one in sent.items()}
    given = {"model": flat(sent), "root": root}
    found = aggregate("mean", rows, filters=["asft"], shapes=shapes, **given)
    expected = _filtered("asft", _round(sent, rows, root=root)).mean(dim=0)
    assert torch.allclose(found.update, expected, atol=1e-6)
    with pytest.raises(ConfigError, match="Give shapes"):
        aggregate("mean", rows, filters=["asft"], **given)


@pytest.mark.parametrize("name", ["safe-lora", "asft"])
def test_updates_without_lora_modules_are_a_sentence(name):
    updates = Updates(
        torch.ones(2, 3), torch.ones(2) / 2, {"x": slice(0, 3)}, model=torch.ones(3),
        root=torch.ones(3), shapes={"x": (3,)},
    )  # fmt: skip
    with pytest.raises(ConfigError, match=f"Filter '{name}' works on LoRA modules"):
        _filtered(name, updates)

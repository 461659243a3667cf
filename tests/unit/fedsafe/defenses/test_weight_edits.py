"""Weight edits on a model: where the pair comes from, and what goes back into the adapter."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from fedsafe.contracts import DefenseTask, Factors, Sample, Verdict, defenses, sources
from fedsafe.defenses.lora_edits import LoraEdits, factors_of
from fedsafe.defenses.safety_pairs import harmful_of
from fedsafe.errors import ModelError, RunError
from fedsafe.experiment.schema import Adapter, Model
from fedsafe.models import adapters, lora_modules
from fedsafe.models.base import load
from fedsafe.pipeline.run_defense import defense_context
from fedsafe.runs.events import Events
from fedsafe.training.context import SessionContext
from fedsafe.training.session import Session
from fedsafe.weights.edits import low_rank, safe_projection
from tests.doubles.models import make_model

SAMPLES = [Sample("one two", "three"), Sample("four", "five six seven")]


@pytest.fixture
def context(session: Session) -> SessionContext:
    """Return a context whose adapter has moved away from the first one."""
    generator = torch.Generator().manual_seed(1)
    moved = {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in session.start(0).items()
    }
    session.put(moved)
    return defense_context(session, random.Random(0), Events())


@pytest.fixture
def task(session: Session) -> DefenseTask:
    return DefenseTask(
        start=session.start(0),
        avoid=frozenset(),
        normalise=str,
        near=len,
        judge=lambda exchanges, *_: [Verdict("comply") for _ in exchanges],
        keep=lambda *_: None,
    )


def _saved(context: SessionContext, path: Path, seed: int) -> dict[str, Factors]:
    """Save an adapter with values of its own; return its modules."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(tensor.shape, generator=generator)
        for name, tensor in context.adapter().items()
    }
    adapters.save(path, tensors, context.model)
    return factors_of(context, tensors)


def _of(name: str, context: SessionContext, task: DefenseTask, **settings: object) -> Factors:
    """Return a module's factors after a defense."""
    found = defenses[name].configure(settings)(context, task).adapter
    return next(iter(factors_of(context, found).values()))


def test_safe_lora_projects_onto_the_pair_of_two_adapters(
    context: SessionContext, task: DefenseTask, tmp_path: Path
) -> None:
    aligned, unaligned = (_saved(context, tmp_path / str(seed), seed) for seed in (2, 3))
    module, own = next(iter(factors_of(context, context.adapter()).items()))
    pair = {"aligned": tmp_path / "2", "unaligned": tmp_path / "3"}
    after = _of("safe-lora", context, task, select="threshold", threshold=1.0, **pair)
    v = aligned[module].change - unaligned[module].change
    assert torch.allclose(after.b, safe_projection(own.b, own.a, v)[0], atol=1e-6)
    assert torch.equal(after.a, own.a)


@pytest.mark.parametrize("name", ["safe-lora", "resta", "lox"])
def test_module_that_no_adapter_of_the_pair_changes_stays_as_it_is(
    context: SessionContext, task: DefenseTask, tmp_path: Path, name: str
) -> None:
    for seed in (2, 3):
        _saved(context, tmp_path / str(seed), seed)
        weights = load_file(tmp_path / str(seed) / adapters.WEIGHTS)
        some = {key: tensor for key, tensor in weights.items() if ".q_proj." in key}
        save_file(some, tmp_path / str(seed) / adapters.WEIGHTS)
    given = {"aligned": tmp_path / "2", "unaligned": tmp_path / "3"}
    settings = {"select": "threshold", "threshold": 1.0} if name == "safe-lora" else {}
    settings |= {"drop": 0.0} if name == "resta" else {}
    before = context.adapter()
    after = defenses[name].configure({**given, **settings})(context, task).adapter
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key for key in changed if ".q_proj." in key} != set()


def test_resta_of_a_model_directory_adds_the_difference_of_base_weights(
    context: SessionContext, task: DefenseTask, tmp_path: Path
) -> None:
    other = make_model(tmp_path / "unaligned", "llama", seed=5)
    module, own = next(iter(factors_of(context, context.adapter()).items()))
    name = f"{module}.lora_A.weight"
    state = AutoModelForCausalLM.from_pretrained(other).state_dict()
    weight = state[f"{module.removeprefix('base_model.model.')}.weight"]
    wanted = own.change + 0.5 * (context.base_weight(name) - weight)
    b, a = low_rank(wanted / own.scaling, own.a.shape[0])
    after = _of("resta", context, task, unaligned=other, drop=0.0)
    assert torch.allclose(after.change, own.scaling * b @ a, atol=1e-5)


def test_adapter_of_another_base_is_a_sentence(
    context: SessionContext, task: DefenseTask, tmp_path: Path
) -> None:
    wide = AutoModelForCausalLM.from_pretrained(make_model(tmp_path / "m", "llama", hidden=64))
    get_peft_model(wide, LoraConfig(target_modules="all-linear")).save_pretrained(tmp_path / "a")
    with pytest.raises(ModelError, match=r"changes .* as a weight of .*; here it is"):
        _of("resta", context, task, unaligned=tmp_path / "a")


def test_antidote_zeroes_two_of_eight_in_each_row(
    context: SessionContext, task: DefenseTask, tmp_path: Path
) -> None:
    path = tmp_path / "harmful.jsonl"
    path.write_text('{"instruction": "one two", "response": "three"}\n')
    after = _of("antidote", context, task, share=0.25, harmful=path)
    assert (after.b == 0).sum(dim=1).unique().tolist() == [after.b.shape[1] // 4]
    assert (after.a == 0).sum(dim=1).unique().tolist() == [after.a.shape[1] // 4]


def test_safe_patching_passes_over_an_example_that_is_too_long(
    context: SessionContext, task: DefenseTask, tmp_path: Path
) -> None:
    path = tmp_path / "harmful.jsonl"
    rows = ("one two", "three " * 2000)
    path.write_text("".join(f'{{"instruction": "{r}", "response": "no"}}\n' for r in rows))
    before = context.adapter()
    settings = {"harmful": path, "ascent_steps": 1, "descent_steps": 1, "safety_share": 1.0}
    found = defenses["safe-patching"].configure(settings)(context, task).adapter
    assert any(not torch.equal(found[name], before[name]) for name in before)


def test_change_of_the_adapters_rank_is_put_back_without_error(context: SessionContext) -> None:
    edits = LoraEdits.of(context)
    module, own = next(edits.modules())
    edits.put(module, 2 * own.change)
    assert edits.errors[module] < 1e-6
    assert torch.allclose(dict(edits.modules())[module].change, 2 * own.change, atol=1e-5)


def test_input_norms_leave_padding_out(context: SessionContext) -> None:
    """Samples of two lengths in one batch have the norms that they have one by one."""
    together = context.input_norms(SAMPLES, batch_size=2)
    alone = [context.input_norms([sample], batch_size=1) for sample in SAMPLES]
    for name, norms in together.items():
        mean = torch.stack([one[name] ** 2 for one in alone]).mean(dim=0)
        assert torch.allclose(norms**2, mean, rtol=1e-3, atol=1e-5)


def test_adapter_of_another_rank_and_scaling_is_read_as_peft_scales_it(
    llama: Path, tmp_path: Path
) -> None:
    settings = {"r": 3, "lora_alpha": 6, "use_rslora": True, "alpha_pattern": {"q_proj": 9}}
    base = AutoModelForCausalLM.from_pretrained(llama)
    model = get_peft_model(base, LoraConfig(target_modules=["q_proj", "v_proj"], **settings))
    model.save_pretrained(tmp_path)
    for module, found in lora_modules.read_factors(tmp_path).items():
        assert found.scaling == pytest.approx(model.get_submodule(module).scaling["default"])
        assert found.a.shape[0] == 3


def test_base_weight_of_gpt2_is_turned_to_out_times_in(tmp_path: Path) -> None:
    path = make_model(tmp_path / "gpt2", "gpt2")
    model = load(Model(path=str(path), device="cpu"), Adapter(rank=2)).model
    for name, tensor in adapters.read(model).items():
        if name.endswith("lora_A.weight"):
            out = model.get_submodule(name.partition(".lora_")[0]).out_features
            assert lora_modules.base_weight(model, name).shape == (out, tensor.shape[1])


@pytest.mark.parametrize("name", ["safe-lora", "lox"])
def test_pair_of_the_base_is_what_the_alignment_before_the_federation_changed(
    context: SessionContext, task: DefenseTask, tmp_path: Path, name: str
) -> None:
    _saved(context, tmp_path / "aligned", 2)
    zero = {key: torch.zeros_like(tensor) for key, tensor in context.adapter().items()}
    adapters.save(tmp_path / "zero", zero, context.model)
    aligned = replace(task, start=adapters.load(tmp_path / "aligned"))
    by_base = _of(name, context, aligned, unaligned="base")
    by_directory = _of(name, context, aligned, unaligned=tmp_path / "zero")
    assert torch.equal(by_base.b, by_directory.b)


def test_base_is_no_unaligned_model_where_nothing_was_aligned(
    context: SessionContext, task: DefenseTask
) -> None:
    with pytest.raises(RunError, match="is the base itself"):
        _of("lox", context, task, unaligned="base")


def test_safety_adapter_may_be_the_aligned_one_that_the_federation_began_from(
    context: SessionContext, task: DefenseTask, tmp_path: Path
) -> None:
    _saved(context, tmp_path / "aligned", 2)
    aligned = replace(task, start=adapters.load(tmp_path / "aligned"))
    before = context.adapter()
    by_start = _of("lora-fusion", context, aligned, safety="start")
    context.put(before)
    by_directory = _of("lora-fusion", context, aligned, safety=tmp_path / "aligned")
    assert torch.equal(by_start.b, by_directory.b)


def test_start_is_no_safety_adapter_where_nothing_was_aligned(
    context: SessionContext, task: DefenseTask
) -> None:
    with pytest.raises(RunError, match=r"Set alignment or adapter\.start, or another safety"):
        _of("lora-fusion", context, task, safety="start")


def test_harmful_answers_of_a_source_are_the_rejected_replies(
    context: SessionContext, task: DefenseTask
) -> None:
    kept: list[Sample] = []
    keeping = replace(task, keep=lambda name, samples, card: kept.extend(samples))
    source = {"name": "policy", "policy": "cooking", "part": "preferences", "count": 20}
    _of("antidote", context, keeping, harmful=source)
    pairs = [one for one in _preferences(20) if one.rejected]
    assert 0 < len(kept) == len(pairs)
    assert harmful_of([*pairs, *SAMPLES]) == [
        replace(one, response=one.rejected, rejected="") for one in pairs
    ]


def _preferences(count: int) -> list[Sample]:
    """Return preference data of the policy, of which some have a rejected reply."""
    settings = {"policy": "cooking", "part": "preferences", "count": count}
    return list(sources["policy"].configure(settings)(0))

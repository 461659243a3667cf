"""Adapters: one order, PEFT's own format, sentences where they do not fit."""

import json
from pathlib import Path

import pytest
import torch

from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Adapter, Model
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel, load


@pytest.fixture
def trained(loaded: LoadedModel) -> adapters.Tensors:
    """An adapter that is not zero."""
    generator = torch.Generator().manual_seed(1)
    start = adapters.start(loaded.model, 0)
    return {name: t + 0.1 * torch.randn(t.shape, generator=generator) for name, t in start.items()}


def test_tensors_come_sorted(loaded: LoadedModel) -> None:
    names = list(adapters.read(loaded.model))
    assert names == sorted(names)


def test_tensors_have_pefts_saved_names(
    loaded: LoadedModel, trained: adapters.Tensors, tmp_path: Path
) -> None:
    from peft import get_peft_model_state_dict

    assert set(get_peft_model_state_dict(loaded.model)) == set(trained)


def test_every_linear_layer_but_the_head_has_one(loaded: LoadedModel) -> None:
    modules = {name.split(".lora_")[0].split(".")[-1] for name in adapters.read(loaded.model)}
    assert modules == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }


def test_start_repeats_with_its_seed(loaded: LoadedModel) -> None:
    one, other = adapters.start(loaded.model, 3), adapters.start(loaded.model, 3)
    assert adapters.digest(one) == adapters.digest(other)


def test_start_of_another_seed_differs(loaded: LoadedModel) -> None:
    one, other = adapters.start(loaded.model, 3), adapters.start(loaded.model, 4)
    assert adapters.digest(one) != adapters.digest(other)


def test_start_leaves_the_global_stream_alone(loaded: LoadedModel) -> None:
    torch.manual_seed(5)
    adapters.start(loaded.model, 3)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))


def test_start_has_b_zero_and_a_bounded(loaded: LoadedModel) -> None:
    for name, tensor in adapters.start(loaded.model, 0).items():
        bound = 0.0 if "lora_B" in name else (1 / tensor.shape[1]) ** 0.5
        assert 0.5 * bound <= float(tensor.abs().max()) <= bound


def test_write_then_read_is_the_same(loaded: LoadedModel, trained: adapters.Tensors) -> None:
    adapters.write(loaded.model, trained)
    assert adapters.digest(adapters.read(loaded.model)) == adapters.digest(trained)


def test_read_is_a_copy(loaded: LoadedModel, trained: adapters.Tensors) -> None:
    adapters.write(loaded.model, trained)
    for tensor in adapters.read(loaded.model).values():
        tensor.zero_()
    assert adapters.digest(adapters.read(loaded.model)) == adapters.digest(trained)


def test_saved_adapter_loads_back(
    loaded: LoadedModel, trained: adapters.Tensors, tmp_path: Path
) -> None:
    adapters.save(tmp_path / "a", trained, loaded.model)
    found = adapters.load(tmp_path / "a")
    assert (list(found), adapters.digest(found)) == (sorted(trained), adapters.digest(trained))


def test_saved_adapter_gives_the_same_logits_in_plain_peft(
    loaded: LoadedModel, trained: adapters.Tensors, llama: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapters.save(tmp_path / "a", trained, loaded.model)
    adapters.write(loaded.model, trained)
    base = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, tmp_path / "a").eval()
    ids = torch.arange(10, 20)[None]
    with torch.no_grad():
        assert torch.equal(plain(ids).logits, loaded.model(ids).logits)


def test_saving_does_not_freeze_the_adapter(
    loaded: LoadedModel, trained: adapters.Tensors, tmp_path: Path
) -> None:
    adapters.save(tmp_path / "a", trained, loaded.model)
    assert all(p.requires_grad for p in adapters.parameters(loaded.model).values())


def test_settings_of_a_saved_adapter_attach_alike(
    loaded: LoadedModel, trained: adapters.Tensors, llama: Path, tmp_path: Path
) -> None:
    adapters.save(tmp_path / "a", trained, loaded.model)
    spec = adapters.spec_of(tmp_path / "a")
    other = load(Model(path=str(llama), device="cpu"), spec)
    adapters.write(other.model, trained)
    assert (spec.rank, spec.alpha, list(adapters.read(other.model))) == (4, 8.0, list(trained))


def test_missing_tensor_is_named(loaded: LoadedModel, trained: adapters.Tensors) -> None:
    gone = next(iter(trained))
    del trained[gone]
    with pytest.raises(ModelError, match=rf"lacks {gone} \(1 tensors missing, 0 unknown\)"):
        adapters.write(loaded.model, trained)


def test_unknown_tensor_is_named(loaded: LoadedModel, trained: adapters.Tensors) -> None:
    with pytest.raises(ModelError, match=r"has stranger .*0 tensors missing, 1 unknown"):
        adapters.write(loaded.model, {**trained, "stranger": torch.zeros(1)})


def test_wrong_rank_names_both_shapes(loaded: LoadedModel, trained: adapters.Tensors) -> None:
    name = next(iter(trained))
    wrong = {**trained, name: torch.zeros(8, trained[name].shape[1])}
    with pytest.raises(ModelError, match=r"is \(8, \d+\); this model wants \(4, \d+\).*rank"):
        adapters.write(loaded.model, wrong)


def test_refused_adapter_changes_nothing(loaded: LoadedModel, trained: adapters.Tensors) -> None:
    adapters.write(loaded.model, trained)
    wrong = {name: torch.zeros_like(tensor) for name, tensor in trained.items()}
    wrong[next(reversed(wrong))] = torch.zeros(1)
    with pytest.raises(ModelError):
        adapters.write(loaded.model, wrong)
    assert adapters.digest(adapters.read(loaded.model)) == adapters.digest(trained)


def test_digest_tells_names_apart() -> None:
    zero = torch.zeros(2, 3)
    assert adapters.digest({"a": zero}) != adapters.digest({"b": zero})


def test_digest_tells_shapes_apart() -> None:
    assert adapters.digest({"a": torch.zeros(2, 3)}) != adapters.digest({"a": torch.zeros(3, 2)})


def test_digest_does_not_depend_on_the_order() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    assert adapters.digest({"a": one, "b": two}) == adapters.digest({"b": two, "a": one})


def test_directory_without_adapter_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no adapter: adapter_model.safetensors is missing"):
        adapters.load(tmp_path)


def test_adapter_that_was_cut_short_is_a_sentence(
    loaded: LoadedModel, trained: adapters.Tensors, tmp_path: Path
) -> None:
    adapters.save(tmp_path / "a", trained, loaded.model)
    path = tmp_path / "a" / adapters.WEIGHTS
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"cannot be read.*cut short"):
        adapters.load(tmp_path / "a")


def test_pickled_adapter_is_not_looked_at(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "adapter_model.bin")
    with pytest.raises(ModelError, match="holds no adapter"):
        adapters.load(tmp_path)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (None, "adapter_config.json is missing"),
        ("{", "cannot be read"),
        ('{"peft_type": "IA3"}', "is a IA3 adapter; only LORA"),
        ('{"peft_type": "LORA", "r": 4}', "cannot be read"),
        (
            '{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], '
            '"use_rslora": "yes"}',
            "sets use_rslora to 'yes'",
        ),
        (
            '{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ".*proj"}',
            "adapter_config.json cannot be read: .*targets",
        ),
    ],
)
def test_settings_that_cannot_be_taken_over_are_a_sentence(
    config: str | None, sentence: str, tmp_path: Path
) -> None:
    if config is not None:
        (tmp_path / "adapter_config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ModelError, match=sentence):
        adapters.spec_of(tmp_path)


def test_targets_that_no_module_has_are_a_sentence(llama: Path) -> None:
    with pytest.raises(ModelError, match=r"adapter.targets \('w_proj',\) do not fit this model"):
        load(Model(path=str(llama), device="cpu"), Adapter(targets=("w_proj",)))


def test_chosen_targets_alone_get_an_adapter(llama: Path) -> None:
    found = load(Model(path=str(llama), device="cpu"), Adapter(targets=("q_proj", "v_proj")))
    names = adapters.read(found.model)
    assert {name.split(".lora_")[0].split(".")[-1] for name in names} == {"q_proj", "v_proj"}


def test_saved_settings_name_the_base_model(
    loaded: LoadedModel, trained: adapters.Tensors, llama: Path, tmp_path: Path
) -> None:
    adapters.save(tmp_path / "a", trained, loaded.model)
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["base_model_name_or_path"], config["inference_mode"]) == (llama.name, True)


def test_saved_adapter_is_the_same_bytes_each_time(loaded: LoadedModel, tmp_path: Path) -> None:
    tensors = adapters.start(loaded.model, 0)
    for number in range(8):  # the order of two entries was wrong half the time
        adapters.save(tmp_path / str(number), tensors, loaded.model)
    files = {
        name: {(tmp_path / str(number) / name).read_bytes() for number in range(8)}
        for name in ("adapter_model.safetensors", "adapter_config.json")
    }
    assert {name: len(contents) for name, contents in files.items()} == dict.fromkeys(files, 1)

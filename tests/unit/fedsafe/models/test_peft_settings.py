"""Adapters of PEFT's LoRA family: as PEFT loads them, or refused with the setting's name."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Adapter, Model
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel, load
from tests.doubles.models import make_model

IDS = torch.arange(10, 22).view(2, 6)
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "head": {"target_modules": ["lm_head"]},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "rank pattern": {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"q_proj": 3}},
    "whole head": {"modules_to_save": ["lm_head"]},
    "bias": {"bias": "lora_only"},
    "every bias": {"bias": "all"},
    "lora bias": {"lora_bias": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "last layer": {"layers_to_transform": [1]},
    "without a module": {"target_modules": "all-linear", "exclude_modules": ["o_proj"]},
}


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose projections have biases, as Qwen2's do."""
    return make_model(tmp_path_factory.mktemp("qwen") / "qwen", "qwen2")


def saved(directory: Path, base: Path, **settings: Any) -> torch.Tensor:
    """Let PEFT alone make and save an adapter; return the logits it has when loaded again."""
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    config = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], **settings}
    torch.manual_seed(3)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(task_type="CAUSAL_LM", **config)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # PEFT on embeddings, and on biases that it takes for shards
        model.save_pretrained(directory)
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), directory)
    with torch.no_grad():
        logits: torch.Tensor = again.eval()(input_ids=IDS).logits
    return logits


def ours(directory: Path, base: Path) -> LoadedModel:
    loaded = load(Model(path=str(base), device="cpu"), adapters.spec_of(directory))
    adapters.write(loaded.model, adapters.load(directory))
    return loaded


def logits_of(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = loaded.model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_adapter_answers_as_peft_loads_it(name: str, qwen: Path, tmp_path: Path) -> None:
    want = saved(tmp_path / "a", qwen, **SETTINGS[name])
    assert float((logits_of(ours(tmp_path / "a", qwen)) - want).abs().max()) < 1e-4


@pytest.mark.parametrize("name", SETTINGS)
def test_saved_again_it_answers_the_same_in_plain_peft(
    name: str, qwen: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    want = saved(tmp_path / "a", qwen, **SETTINGS[name])
    loaded = ours(tmp_path / "a", qwen)
    adapters.save(tmp_path / "b", adapters.read(loaded.model), loaded.model)
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(qwen), tmp_path / "b")
    with torch.no_grad():
        found = again.eval()(input_ids=IDS).logits
    assert float((found - want).abs().max()) < 1e-4


@pytest.mark.parametrize("name", SETTINGS)
def test_fresh_adapter_answers_as_the_base_does(name: str, qwen: Path) -> None:
    settings = dict(SETTINGS[name])
    targets = settings.pop("target_modules", ["q_proj", "v_proj"])
    if settings.get("init_lora_weights") in ("gaussian", "orthogonal"):
        pytest.skip("starts elsewhere by design" if "orth" in name else "")
    targets = targets if isinstance(targets, str) else tuple(targets)
    spec = Adapter(rank=4, alpha=8, targets=targets, peft=settings)
    loaded = load(Model(path=str(qwen), device="cpu"), spec)
    adapters.write(loaded.model, adapters.start(loaded.model, 5))
    bare = load(Model(path=str(qwen), device="cpu"), Adapter(rank=4, alpha=8))
    adapters.write(bare.model, adapters.start(bare.model, 5))
    assert float((logits_of(loaded) - logits_of(bare)).abs().max()) < 1e-4


@pytest.mark.parametrize("name", SETTINGS)
def test_tensors_are_those_that_peft_trains(name: str, qwen: Path, tmp_path: Path) -> None:
    saved(tmp_path / "a", qwen, **SETTINGS[name])
    loaded = ours(tmp_path / "a", qwen)
    trained = {id(p) for p in loaded.model.parameters() if p.requires_grad}
    assert trained == {id(p) for p in adapters.parameters(loaded.model).values()}
    assert "default" not in "".join(adapters.parameters(loaded.model))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layer_replication", [[0, 1]]),
        ("alora_invocation_tokens", [1]),
        ("init_lora_weights", "corda"),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", "mica"),
        ("use_qalora", True),
        ("a_setting_of_the_future", 7),
    ],
)
def test_settings_beyond_the_list_are_refused_by_name(
    name: str, value: object, qwen: Path, tmp_path: Path
) -> None:
    saved(tmp_path / "a", qwen)
    path = tmp_path / "a" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), name: value}))
    with pytest.raises(ModelError, match=f"sets {name}"):
        adapters.spec_of(tmp_path / "a")


def test_adapter_of_another_embedding_is_refused(qwen: Path, tmp_path: Path) -> None:
    saved(tmp_path / "a", qwen, target_modules=["embed_tokens"])
    tensors = adapters.load(tmp_path / "a")
    own = next(name for name in tensors if "base_layer" in name)
    loaded = load(Model(path=str(qwen), device="cpu"), adapters.spec_of(tmp_path / "a"))
    with pytest.raises(ModelError, match=r"brings its own .*base_layer\.weight"):
        adapters.write(loaded.model, {**tensors, own: tensors[own] + 1})


def test_targets_with_nothing_to_train_are_refused(qwen: Path) -> None:
    with pytest.raises(ModelError, match=r"adapter.targets \(\)"):
        load(Model(path=str(qwen), device="cpu"), Adapter(targets=()))


def test_start_repeats_where_the_base_changes(qwen: Path) -> None:
    spec = Adapter(rank=4, alpha=8, peft={"init_lora_weights": "pissa_niter_4"})
    found = {
        adapters.digest(adapters.start(load(Model(path=str(qwen), device="cpu"), spec).model, 0))
        for _ in range(2)
    }
    assert len(found) == 1


def test_layers_of_all_linear_are_a_sentence(llama: Path) -> None:
    spec = Adapter(rank=2, peft={"layers_to_transform": [0]})
    with pytest.raises(ModelError, match=r"adapter.targets 'all-linear' and adapter.peft .*do not"):
        load(Model(path=str(llama), device="cpu"), spec)

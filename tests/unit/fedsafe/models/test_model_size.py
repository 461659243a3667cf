"""Sizes counted from a configuration: those of the model that is really there."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, MixtralConfig, Qwen2Config

from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Adapter
from fedsafe.models import adapters
from fedsafe.models.attach import attach
from fedsafe.models.model_size import Shape, read_config, shape_of
from tests.doubles.models import make_model

ANYWHERE = Path("anywhere")


def llama_7b() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
        num_attention_heads=32,
    )  # fmt: skip


def _shape(config: object, **adapter: object) -> Shape:
    return shape_of(config, Adapter.model_validate(adapter), ANYWHERE)


def test_llama_7b_has_its_published_size() -> None:
    assert _shape(llama_7b()).parameters == 6_738_415_616


def test_adapter_of_the_reference_system_has_its_published_size() -> None:
    shape = _shape(llama_7b(), rank=32, alpha=64, targets=("q_proj", "v_proj"))
    assert shape.adapter == 16_777_216


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "gpt2"])
def test_counts_are_those_of_the_saved_model(kind: str, tmp_path: Path) -> None:
    directory = make_model(tmp_path / kind, kind)
    shape = shape_of(read_config(directory), Adapter(rank=4), directory)
    model = AutoModelForCausalLM.from_pretrained(directory)
    adapted = attach(model, Adapter(rank=4))
    own = sum(tensor.numel() for tensor in adapters.parameters(adapted).values())
    assert (shape.parameters, shape.adapter) == (model.num_parameters() - own, own)


def test_linear_layers_are_what_is_quantized(llama: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    from fedsafe.experiment.schema import Model
    from fedsafe.models.base import load

    loaded = load(Model(path=str(llama), device="cpu", quantization="nf4"), Adapter(rank=2))
    layers = [m for m in loaded.model.modules() if isinstance(m, Linear4bit)]
    shape = shape_of(read_config(llama), Adapter(rank=2), llama)
    assert shape.linear == sum(m.in_features * m.out_features for m in layers)


def test_embeddings_that_are_shared_with_the_head_count_once() -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 96, "vocab_size": 500}
    apart, tied = (
        _shape(Qwen2Config(**sizes, num_attention_heads=4, tie_word_embeddings=tied))
        for tied in (False, True)
    )
    assert apart.parameters - tied.parameters == 500 * 64


def test_a_token_goes_through_the_chosen_experts_only() -> None:
    config = MixtralConfig(
        num_hidden_layers=1, hidden_size=64, intermediate_size=96, vocab_size=100,
        num_attention_heads=4, num_key_value_heads=4, num_local_experts=8, num_experts_per_tok=2,
    )  # fmt: skip
    assert _shape(config).inner == 2 * 96


def test_counting_takes_no_memory_for_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.device] = []
    original = torch.nn.Parameter.__new__

    def noted(cls: type, data: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
        made.append(data.device)
        return original(cls, data, requires_grad)

    monkeypatch.setattr(torch.nn.Parameter, "__new__", noted)
    _shape(llama_7b())
    assert {device.type for device in made} == {"meta"}


def test_targets_that_do_not_fit_are_a_sentence(llama: Path) -> None:
    with pytest.raises(ModelError, match="do not fit this model"):
        shape_of(AutoConfig.from_pretrained(llama), Adapter(targets=("absent",)), llama)

"""Loading: any architecture, plain or quantized, and a sentence for all that cannot be."""

import shutil
from itertools import repeat
from pathlib import Path

import pytest
import torch

from fedsafe.contracts import Batch
from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Adapter, Model, Training
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel, load
from fedsafe.models.generation import Decoding, generate
from fedsafe.training.forward import response_loss
from fedsafe.training.loop import Loss, Plan, plan_of, train
from tests.doubles.models import make_model

BATCH = Batch(
    torch.arange(20, 36).view(2, 8),
    torch.ones(2, 8, dtype=torch.int64),
    torch.arange(20, 36).view(2, 8),
)


def _load(path: Path, adapter: Adapter | None = None, **settings: object) -> LoadedModel:
    spec = Model.model_validate({"path": str(path), "device": "cpu", **settings})
    return load(spec, adapter or Adapter(rank=4, alpha=8))


def _loss(loaded: LoadedModel) -> Loss:
    return Loss(lambda batch, _: response_loss(loaded, batch), per_token=True)


def _train(loaded: LoadedModel) -> tuple[float, ...]:
    adapters.write(loaded.model, adapters.start(loaded.model, 0))
    plan = Plan(steps=3, learning_rate=0.01)
    return train(loaded, iter([BATCH] * 3), plan, seed=0, loss=_loss(loaded)).losses


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    return shutil.copytree(llama, tmp_path / "copy")


@pytest.mark.parametrize("kind", ["qwen2", "mistral", "gpt2"])
def test_model_of_another_architecture_trains(kind: str, tmp_path: Path) -> None:
    losses = _train(_load(make_model(tmp_path / kind, kind)))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_base_is_frozen_and_adapter_is_float32(quantization: str, llama: Path) -> None:
    loaded = _load(llama, quantization=quantization)
    free = {n: p for n, p in loaded.model.named_parameters() if p.requires_grad}
    assert all("lora_" in name and p.dtype == torch.float32 for name, p in free.items())
    assert len(free) == len(adapters.parameters(loaded.model))


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_quantized_model_trains_its_adapter(quantization: str, llama: Path) -> None:
    loaded = _load(llama, quantization=quantization)
    losses = _train(loaded)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_quantized_model_trains_after_it_has_written(quantization: str, llama: Path) -> None:
    loaded = _load(llama, quantization=quantization)
    fresh = _train(loaded)
    generate(loaded, [[20, 21, 22]], Decoding(max_new_tokens=3))
    assert _train(loaded) == fresh


def test_nf4_model_that_has_written_still_lets_gradients_through(tmp_path: Path) -> None:
    # bitsandbytes repacks 4-bit weights for inference on CPUs with AVX512-BF16.
    loaded = _load(make_model(tmp_path / "wide", "llama", hidden=64), quantization="nf4")
    generate(loaded, [[20, 21, 22]], Decoding(max_new_tokens=3))
    layers = [m for m in loaded.model.modules() if hasattr(m, "support_avx512bf16_for_cpu")]
    states = [layer.weight.quant_state for layer in layers]
    packed = [state for state in states if getattr(state, "packing_format_for_cpu", False)]
    assert (len(layers) > 0, packed) == (True, [])


def test_optimizers_that_the_device_does_not_have_are_a_sentence(llama: Path) -> None:
    with pytest.raises(ModelError, match="pages memory between GPU and host, and the model is on"):
        load(
            Model(path=str(llama), device="cpu"),
            Adapter(rank=2),
            Training(optimizer="paged-adamw-8bit"),
        )


def test_qlora_trains_with_checkpointing_and_an_8bit_optimizer(llama: Path) -> None:
    spec = Model(path=str(llama), device="cpu", quantization="nf4", dtype="bfloat16")
    training = Training(checkpointing=True, optimizer="adamw-8bit", learning_rate=0.01)
    try:
        loaded = load(spec, Adapter(rank=4, alpha=8, dropout=0.05), training, reserve=True)
    except ModelError as error:
        pytest.skip(str(error))  # bitsandbytes before 0.50 has no such optimizer for the CPU
    plan = plan_of(training.model_copy(update={"steps": 6}), 0.01)
    losses = train(loaded, repeat(BATCH), plan, seed=0, loss=_loss(loaded)).losses
    assert losses[-1] < losses[0]


def test_nf4_weights_are_four_bit_with_double_quantization(llama: Path) -> None:
    base = _load(llama, quantization="nf4").model.get_base_model()
    state = base.model.layers[0].mlp.up_proj.base_layer.weight.quant_state
    assert (state.quant_type, state.nested) == ("nf4", True)


def test_checkpointing_gives_the_same_losses(llama: Path) -> None:
    spec, adapter = Model(path=str(llama), device="cpu"), Adapter(rank=4, alpha=8)
    saving = load(spec, adapter, Training(checkpointing=True))
    assert _train(saving) == pytest.approx(_train(load(spec, adapter)), rel=1e-5)


def test_directory_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no local directory, and the hub did not give it"):
        _load(tmp_path / "absent")


def test_hub_name_without_a_network_is_a_sentence() -> None:
    with pytest.raises(ModelError, match=r"no-such/model' is no local directory.*Check model.path"):
        _load(Path("no-such/model"))


def test_directory_without_a_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"it has no config.json"):
        _load(tmp_path)


def test_pickled_weights_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match="only pickled weights, which are never loaded"):
        _load(copy)


def test_missing_weights_are_a_sentence(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights"):
        _load(copy)


def test_weights_that_were_cut_short_are_a_sentence(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        _load(copy)


@pytest.mark.parametrize("text", ["", "{", '{"model_type": "no-such-type"}', "[]"])
def test_broken_configuration_is_a_sentence(text: str, copy: Path) -> None:
    (copy / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be loaded"):
        _load(copy)


@pytest.mark.parametrize("text", ["", "{", '{"model": 1}'])
def test_broken_tokenizer_is_a_sentence(text: str, copy: Path) -> None:
    (copy / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"tokenizer in .* cannot be loaded"):
        _load(copy)


def test_model_without_a_tokenizer_is_a_sentence(copy: Path) -> None:
    for path in copy.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match=r"tokenizer in .* cannot be loaded"):
        _load(copy)


def test_code_that_comes_with_a_model_is_never_run(copy: Path) -> None:
    config = (copy / "config.json").read_text(encoding="utf-8")
    mapped = '"auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"},'
    config = config.replace("{", "{" + mapped, 1).replace('"llama"', '"evil"')
    (copy / "config.json").write_text(config, encoding="utf-8")
    (copy / "evil.py").write_text("raise SystemExit('ran')\n", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be loaded"):
        _load(copy)


@pytest.mark.parametrize(
    ("device", "sentence"), [("gpu", "is not a device"), ("cuda:99", "sees no CUDA|cannot")]
)
def test_device_that_is_not_there_is_a_sentence(device: str, sentence: str, llama: Path) -> None:
    with pytest.raises(ModelError, match=sentence):
        _load(llama, device=device)

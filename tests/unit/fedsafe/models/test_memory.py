"""The memory estimate: what autograd really keeps, and a refusal with figures."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Adapter, Model, Training
from fedsafe.models import memory
from fedsafe.models.attach import attach
from fedsafe.models.base import load, needed
from fedsafe.models.memory import (
    MARGIN,
    Workload,
    check_memory,
    estimate,
    layer_bytes,
    weight_bytes,
)
from fedsafe.models.model_size import Shape, read_config, shape_of
from tests.unit.fedsafe.models.test_model_size import llama_7b

CPU = torch.device("cpu")
QLORA = Workload(
    quantization="nf4", batch_size=16, length=512, size=2, checkpointing=True, dropout=True,
    cuda=True,
)  # fmt: skip
BATCH, LENGTH = 4, 100


@pytest.fixture(scope="module")
def seven() -> Shape:
    return shape_of(llama_7b(), Adapter(rank=16, alpha=32), Path("7b"))


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_to(count: int | None) -> None:
        monkeypatch.setattr(memory, "free_bytes", lambda device: count)

    return set_to


def _kept(config: LlamaConfig, dtype: torch.dtype, adapter: Adapter) -> float:
    """Return the bytes a token and layer that autograd saves in a forward pass."""
    model = AutoModelForCausalLM.from_config(config).to(dtype)
    model.requires_grad_(False)
    adapted = attach(model, adapter).train()
    own = {t.untyped_storage().data_ptr() for t in [*adapted.parameters(), *adapted.buffers()]}
    saved: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    mask = torch.ones(BATCH, LENGTH, dtype=torch.int64)
    mask[0, LENGTH // 2 :] = 0
    half = dtype is not torch.float32
    precision = torch.autocast("cpu", dtype=dtype) if half else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), precision:
        adapted.get_base_model().base_model(
            input_ids=torch.ones_like(mask), attention_mask=mask, use_cache=False
        )
    total = sum(count for count, _ in saved.values())
    return total / (BATCH * LENGTH * config.num_hidden_layers)


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj")])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_layer_keeps_what_autograd_saves(
    dtype: torch.dtype, dropout: float, targets: Any
) -> None:
    config = LlamaConfig(
        hidden_size=64, intermediate_size=176, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=50,
    )  # fmt: skip
    adapter = Adapter(rank=4, dropout=dropout, targets=targets)
    work = Workload("none", BATCH, LENGTH, dtype.itemsize, dropout=dropout > 0)
    said = layer_bytes(shape_of(config, adapter, Path("tiny")), work)
    assert said == pytest.approx(_kept(config, dtype, adapter), rel=0.1)


@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_weights_are_what_lies_on_the_device(quantization: str, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerBase

    from tests.doubles.models import make_tokenizer

    config = LlamaConfig(
        hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=1000,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer: PreTrainedTokenizerBase = make_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    spec = Model.model_validate({"path": str(tmp_path), "quantization": quantization})
    loaded = load(spec.model_copy(update={"device": "cpu"}), Adapter(rank=2))
    base = [p for name, p in loaded.model.named_parameters() if "lora_" not in name]
    states = [p.quant_state for p in base if hasattr(p, "quant_state")]
    real = sum(p.numel() * p.element_size() for p in base)
    real += sum(s.absmax.nbytes + s.state2.absmax.nbytes for s in states)
    real += sum(p.SCB.nbytes for p in base if getattr(p, "SCB", None) is not None)
    said = weight_bytes(shape_of(config, Adapter(rank=2), tmp_path), quantization, 4)
    assert said == pytest.approx(real, rel=0.01)


def test_nf4_of_a_7b_model_takes_about_four_bits_a_weight(seven: Shape) -> None:
    assert weight_bytes(seven, "nf4", 2) / seven.linear * 8 == pytest.approx(4.13 + 0.65, abs=0.05)


@pytest.mark.parametrize(
    "more",
    [
        {"quantization": "int8"},
        {"batch_size": 32},
        {"length": 1024},
        {"size": 4},
        {"checkpointing": False},
        {"plain_head": False},
        {"eager": True},
        {"optimizer": "adamw"},
    ],
)
def test_what_asks_for_more_is_said_to_need_more(more: dict[str, Any], seven: Shape) -> None:
    frugal = replace(QLORA, optimizer="paged-adamw-8bit")
    assert estimate(seven, replace(frugal, **more)).total > estimate(seven, frugal).total


def test_a_larger_adapter_needs_more(seven: Shape) -> None:
    larger = shape_of(llama_7b(), Adapter(rank=64), Path("7b"))
    assert estimate(larger, QLORA).adapter == pytest.approx(4 * estimate(seven, QLORA).adapter)


def test_adamw_keeps_sixteen_bytes_a_parameter_in_float32(seven: Shape) -> None:
    whole = replace(QLORA, size=4, quantization="none")
    assert estimate(seven, whole).adapter == 16 * seven.adapter


def test_margin_is_on_top(seven: Shape) -> None:
    found = estimate(seven, QLORA)
    assert found.total == int(found.counted * (1 + MARGIN))


def test_what_fits_is_let_through(seven: Shape, free: Any) -> None:
    free(estimate(seven, QLORA).total)
    assert check_memory(seven, QLORA, CPU) == estimate(seven, QLORA)


def test_nothing_is_refused_where_free_memory_is_not_known(seven: Shape, free: Any) -> None:
    free(None)
    check_memory(seven, QLORA, CPU)


def test_what_cannot_fit_is_refused_with_figures(seven: Shape, free: Any) -> None:
    free(3 * 2**30)
    sentence = r"about \d+\.\d GiB \(weights 3\.6 GiB, .* 3\.0 GiB are free"
    with pytest.raises(ModelError, match=sentence):
        check_memory(seven, QLORA, CPU)


@pytest.mark.parametrize(
    ("gib", "advice"),
    [
        (40, r"It needs \d+\.\d GiB with training.checkpointing true\."),
        (20, r"checkpointing true and training.batch_size \d+ \(with more accumulation\)\."),
        (8, r"checkpointing true and training.batch_size \d .* and model.quantization nf4\."),
        (2, r"Lower data.max_length, .* Even with .* nf4 it needs \d\.\d GiB\."),
    ],
)
def test_refusal_says_what_would_fit(gib: int, advice: str, seven: Shape, free: Any) -> None:
    free(gib * 2**30)
    plain = replace(QLORA, quantization="none", checkpointing=False)
    with pytest.raises(ModelError, match=advice):
        check_memory(seven, plain, CPU)


def test_nothing_is_loaded_that_cannot_train(llama: Path, free: Any) -> None:
    free(2**10)
    with pytest.raises(ModelError, match=r"Training does not fit on cpu: .* 0 MiB are free"):
        load(Model(path=str(llama), device="cpu"), Adapter(rank=2), Training(), reserve=True)


def test_what_does_not_train_is_not_refused(llama: Path, free: Any) -> None:
    free(2**10)
    load(Model(path=str(llama), device="cpu"), Adapter(rank=2), Training())


@pytest.mark.parametrize(("device", "size"), [("cpu", 4), ("cuda", 2)])
def test_need_is_said_of_a_device_that_is_not_here(device: str, size: int, llama: Path) -> None:
    adapter = Adapter(rank=2)
    found = needed(Model(path=str(llama), device=device), adapter, Training(), 128)
    work = Workload("none", 16, 128, size, cuda=device == "cuda")
    assert found == (device, estimate(shape_of(read_config(llama), adapter, llama), work))


def test_need_of_a_model_that_is_not_here_is_not_said() -> None:
    assert needed(Model(path="some/model"), Adapter(), Training(), 128) is None

"""Kept activations of frozen layers: same losses and gradients, computed once, within a limit."""

from pathlib import Path

import pytest
import torch

from fedsafe.data.batches import collate
from fedsafe.experiment.schema import Adapter, Model, Training
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel, load
from fedsafe.models.frozen_layers import FrozenLayers, frozen_depth
from fedsafe.training.forward import response_loss, token_losses
from fedsafe.training.loop import Loss, Plan, train
from tests.doubles.models import make_model

UPPER = Adapter(
    rank=4,
    alpha=8,
    targets=("q_proj", "down_proj", "c_attn", "c_fc"),
    peft={"layers_to_transform": [1]},
)
SEQUENCES = [
    ([20, 21, 22, 23, 24], 2),
    ([30, 31, 32], 1),
    ([40, 41, 42, 43, 44, 45, 46, 47], 4),
    ([50, 51, 52, 53], 2),
]


def _model(path: Path, adapter: Adapter = UPPER, **training: object) -> LoadedModel:
    found = load(Model(path=str(path), device="cpu"), adapter, Training.model_validate(training))
    adapters.write(found.model, adapters.start(found.model, 0))
    return found


def _trained(loaded: LoadedModel) -> adapters.Tensors:
    """Two epochs over the same examples in batches of other company."""
    orders = ([0, 1], [2, 3], [3, 0], [1, 2], [0, 2])
    batches = iter([collate([SEQUENCES[i] for i in order], 0) for order in orders])
    loss = Loss(lambda batch, _: response_loss(loaded, batch), per_token=True)
    train(loaded, batches, Plan(steps=5, learning_rate=0.01), seed=0, loss=loss)
    return adapters.read(loaded.model)


@pytest.fixture(scope="module", params=["llama", "qwen2", "gpt2"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models of two layers; the dropout that GPT-2 has is turned off."""
    from transformers import AutoConfig

    directory = make_model(tmp_path_factory.mktemp("models") / request.param, request.param)
    config = AutoConfig.from_pretrained(directory)
    if config.model_type == "gpt2":
        config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
        config.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_with_kept_activations_ends_with_the_same_adapter(
    checkpointing: bool, path: Path
) -> None:
    with_cache = _model(path, checkpointing=checkpointing)
    without = _model(path, checkpointing=checkpointing, cache_frozen="off")
    kept, computed = _trained(with_cache), _trained(without)
    assert with_cache.frozen is not None
    assert (with_cache.frozen.computed, with_cache.frozen.recalled) == (4, 6)
    start = adapters.start(without.model, 0)
    moved = max(float((tensor - start[name]).abs().max()) for name, tensor in computed.items())
    apart = max(float((tensor - computed[name]).abs().max()) for name, tensor in kept.items())
    assert apart < 1e-4 * moved


def test_gradients_are_equal_to_a_millionth(path: Path) -> None:
    batch = collate(SEQUENCES, 0)
    found = []
    for loaded in (_model(path), _model(path, cache_frozen="off")):
        for _ in range(2):
            loaded.model.zero_grad()
            losses, _rows = token_losses(loaded, batch)
            losses.sum().backward()
        found.append({n: p.grad for n, p in adapters.parameters(loaded.model).items()})
    kept, computed = found
    for name, gradient in computed.items():
        assert torch.allclose(kept[name], gradient, rtol=1e-5, atol=1e-6), name


def test_nothing_is_kept_beyond_the_limit(llama: Path) -> None:
    loaded = _model(llama)
    states = 32 * 4  # bytes a token
    frozen = FrozenLayers(loaded.model, 8 * states)
    with torch.no_grad(), frozen.recall(collate(SEQUENCES, 0)):
        pass
    assert (frozen.used, frozen.recalled) == (8 * states, 0)
    with torch.no_grad(), frozen.recall(collate(SEQUENCES, 0)):
        pass
    assert (frozen.used, frozen.recalled) == (8 * states, 2)


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        (Adapter(rank=4), "lowest layer too"),
        (UPPER.model_copy(update={"targets": ("q_proj", "embed_tokens"), "peft": {}}), "lowest"),
        (Adapter(rank=4, targets=("lm_head", "embed_tokens")), "also changes embed_tokens"),
    ],
)
def test_adapter_further_down_keeps_nothing_and_says_why(
    adapter: Adapter, reason: str, llama: Path
) -> None:
    loaded = load(Model(path=str(llama), device="cpu"), adapter, Training())
    depth, found = frozen_depth(loaded.model)
    assert depth == 0
    assert reason in found


def test_dropout_of_the_model_itself_keeps_nothing(tmp_path: Path) -> None:
    depth, reason = frozen_depth(_model(make_model(tmp_path / "gpt2", "gpt2")).model)
    assert (depth, reason) == (0, "the model has dropout of its own in the frozen layers")


def test_unknown_architecture_is_tried_first(llama: Path) -> None:
    loaded = _model(llama)
    frozen = FrozenLayers(loaded.model)
    frozen._sure = False
    decoder = loaded.model.get_base_model().base_model
    passes = []
    hook = decoder.norm.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad(), frozen.recall(collate(SEQUENCES, 0)):
        pass
    hook.remove()
    assert len(passes) == 3  # the frozen layers, all layers, and the upper ones
    assert frozen.depth == 1


def test_left_padded_batch_goes_through_all_layers(llama: Path) -> None:
    loaded = _model(llama)
    assert loaded.frozen is not None
    batch = collate(SEQUENCES[:2], 0)
    batch.attention_mask[1] = torch.tensor([0, 0, 1, 1, 1])
    with torch.no_grad(), loaded.frozen.recall(batch):
        pass
    assert (loaded.frozen.computed, loaded.frozen.used) == (0, 0)

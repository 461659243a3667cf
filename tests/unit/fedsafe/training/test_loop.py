"""The training loop: the loss everybody knows, on the response alone, the same twice."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest
import torch

from fedsafe.contracts import Batch
from fedsafe.errors import ModelError, RunError
from fedsafe.experiment.schema import Adapter, Model
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel, load
from fedsafe.training.forward import response_loss
from fedsafe.training.loop import Loss, Plan, TrainReport, train
from tests.doubles.models import make_model


def _batch(*rows: tuple[int, int, int], pad: int = 0) -> Batch:
    """Return right-padded rows of (first token, length, where the response starts)."""
    width = max(length for _, length, _ in rows)
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, (first, length, start) in enumerate(rows):
        ids[row, :length] = torch.arange(first, first + length)
        mask[row, :length] = 1
        labels[row, start:length] = ids[row, start:length]
    return Batch(ids, mask, labels)


ONE, OTHER = _batch((20, 8, 3), (60, 5, 2)), _batch((100, 6, 5), (140, 9, 1))
BOTH = _batch((20, 8, 3), (60, 5, 2), (100, 6, 5), (140, 9, 1))


@pytest.fixture(autouse=True)
def _adapter(loaded: LoadedModel) -> Iterator[None]:
    _fresh(loaded)
    yield
    _fresh(loaded)


def _fresh(loaded: LoadedModel) -> None:
    adapters.write(loaded.model, adapters.start(loaded.model, 0))


def _plain(loaded: LoadedModel) -> Loss:
    return Loss(lambda batch, _: response_loss(loaded, batch), per_token=True)


def _train(loaded: LoadedModel, *batches: Batch, **plan: float) -> tuple[TrainReport, str]:
    _fresh(loaded)
    settings = {"steps": len(batches), "learning_rate": 0.01, **plan}
    report = train(loaded, iter(batches), Plan(**settings), seed=0, loss=_plain(loaded))  # type: ignore[arg-type]
    return report, adapters.digest(adapters.read(loaded.model))


def test_loss_is_transformers_own(loaded: LoadedModel) -> None:
    with torch.no_grad():
        theirs = loaded.model(
            input_ids=BOTH.input_ids, attention_mask=BOTH.attention_mask, labels=BOTH.labels
        ).loss
        summed, count = response_loss(loaded, BOTH)
    assert float(summed) / count == pytest.approx(float(theirs), rel=1e-6)


@pytest.mark.parametrize("kind", ["qwen2", "mistral", "gpt2"])
def test_loss_is_transformers_own_for_other_architectures(kind: str, tmp_path: Path) -> None:
    other = load(Model(path=str(make_model(tmp_path / kind, kind)), device="cpu"), Adapter(rank=2))
    with torch.no_grad():
        theirs = other.model(
            input_ids=BOTH.input_ids, attention_mask=BOTH.attention_mask, labels=BOTH.labels
        ).loss
        summed, count = response_loss(other, BOTH)
    assert float(summed) / count == pytest.approx(float(theirs), rel=1e-5)


def test_reported_loss_is_the_mean_over_response_tokens(loaded: LoadedModel) -> None:
    with torch.no_grad():
        summed, count = response_loss(loaded, BOTH)
    report, _ = _train(loaded, BOTH)
    assert report.losses == pytest.approx((float(summed) / count,))


def test_what_pads_a_batch_changes_nothing(loaded: LoadedModel) -> None:
    rows = ((20, 8, 3), (60, 5, 2))
    with torch.no_grad():
        one, _ = response_loss(loaded, _batch(*rows))
        other, _ = response_loss(loaded, _batch(*rows, pad=99))
    assert torch.equal(one, other)


def test_prompt_takes_no_loss(loaded: LoadedModel) -> None:
    with torch.no_grad():
        _, count = response_loss(loaded, _batch((20, 8, 3)))
    assert count == 5


def test_accumulated_batches_equal_one_big_one(loaded: LoadedModel) -> None:
    _train(loaded, BOTH)
    big = adapters.read(loaded.model)
    _train(loaded, ONE, OTHER, steps=1, accumulation=2)
    parts = adapters.read(loaded.model)
    for name, tensor in big.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-3, atol=1e-5)


def test_accumulated_loss_weighs_tokens_not_batches(loaded: LoadedModel) -> None:
    big, _ = _train(loaded, BOTH)
    parts, _ = _train(loaded, ONE, OTHER, steps=1, accumulation=2)
    assert parts.losses == pytest.approx(big.losses, rel=1e-5)


def test_training_twice_gives_the_same_bytes(loaded: LoadedModel) -> None:
    assert _train(loaded, ONE, OTHER)[1] == _train(loaded, ONE, OTHER)[1]


def test_training_changes_the_adapter_alone(loaded: LoadedModel) -> None:
    def base() -> str:
        named = loaded.model.named_parameters()
        return adapters.digest({n: p for n, p in named if "lora_" not in n})

    before, start = base(), adapters.digest(adapters.start(loaded.model, 0))
    _, after = _train(loaded, ONE, OTHER)
    assert (base() == before, after == start) == (True, False)


def test_training_learns(loaded: LoadedModel) -> None:
    report, _ = _train(loaded, *repeat(ONE, 12))
    assert report.loss < report.losses[0]


def test_dropout_depends_on_the_seed_alone(llama: Path) -> None:
    wet = load(Model(path=str(llama), device="cpu"), Adapter(rank=4, dropout=0.5))
    found = []
    for seed in (1, 1, 2):
        _fresh(wet)
        torch.manual_seed(seed * 100)
        train(
            wet, iter([ONE, OTHER]), Plan(steps=2, learning_rate=0.01), seed=seed, loss=_plain(wet)
        )
        found.append(adapters.digest(adapters.read(wet.model)))
    assert (found[0] == found[1], found[0] == found[2]) == (True, False)


def test_training_leaves_the_global_stream_alone(loaded: LoadedModel) -> None:
    torch.manual_seed(9)
    _train(loaded, ONE)
    drawn = torch.rand(1)
    torch.manual_seed(9)
    assert torch.equal(drawn, torch.rand(1))


def test_model_is_left_in_evaluation(loaded: LoadedModel) -> None:
    _train(loaded, ONE)
    assert not loaded.model.training


def test_exactly_the_planned_batches_are_taken(loaded: LoadedModel) -> None:
    batches = iter([ONE] * 7)
    plan = Plan(steps=2, learning_rate=0.01, accumulation=3)
    train(loaded, batches, plan, seed=0, loss=_plain(loaded))
    assert len(list(batches)) == 1


def test_progress_is_told_after_each_step(loaded: LoadedModel) -> None:
    told: list[tuple[int, float]] = []
    plan = Plan(steps=2, learning_rate=0.01)
    report = train(
        loaded,
        repeat(ONE),
        plan,
        seed=0,
        loss=_plain(loaded),
        progress=lambda step, loss: told.append((step, loss)),
    )
    assert told == list(enumerate(report.losses, 1))


def test_tokens_are_counted_without_padding(loaded: LoadedModel) -> None:
    assert _train(loaded, ONE)[0].tokens == 13


def test_clipping_bounds_the_step(loaded: LoadedModel) -> None:
    # AdamW's first step does not depend on the gradient's length, its second does.
    _, tight = _train(loaded, ONE, OTHER, clip=1e-3)
    _, loose = _train(loaded, ONE, OTHER, clip=1e3)
    assert tight != loose


def test_own_objective_is_used(loaded: LoadedModel) -> None:
    def twice(batch: Batch, step: int) -> tuple[torch.Tensor, float]:
        summed, count = response_loss(loaded, batch)
        return 2 * summed, count

    plan = Plan(steps=1, learning_rate=0.01)
    double = train(loaded, repeat(ONE), plan, seed=0, loss=Loss(twice)).losses[0]
    assert double == pytest.approx(2 * _train(loaded, ONE)[0].losses[0])


def test_count_that_an_objective_returns_is_believed(loaded: LoadedModel) -> None:
    def per_row(batch: Batch, step: int) -> tuple[torch.Tensor, float]:
        return response_loss(loaded, batch)[0], float(len(batch.input_ids))

    plan = Plan(steps=1, learning_rate=0.01)
    found = train(loaded, repeat(BOTH), plan, seed=0, loss=Loss(per_row)).losses[0]
    _fresh(loaded)
    with torch.no_grad():
        summed, _ = response_loss(loaded, BOTH)
    assert found == pytest.approx(float(summed) / len(BOTH.input_ids), rel=1e-5)


def test_several_batches_of_a_step_weigh_by_their_counts(loaded: LoadedModel) -> None:
    def unnamed(batch: Batch, step: int) -> tuple[torch.Tensor, float]:
        return response_loss(loaded, batch)

    found = []
    for loss in (_plain(loaded), Loss(unnamed)):
        _fresh(loaded)
        plan = Plan(steps=1, learning_rate=0.01, accumulation=2)
        train(loaded, iter([ONE, OTHER]), plan, seed=0, loss=loss)
        found.append(adapters.read(loaded.model))
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-4, atol=1e-6)


def test_step_is_handed_to_the_objective(loaded: LoadedModel) -> None:
    steps: list[int] = []

    def listening(batch: Batch, step: int) -> tuple[torch.Tensor, float]:
        steps.append(step)
        return response_loss(loaded, batch)

    train(loaded, repeat(ONE), Plan(steps=3, learning_rate=0.01), seed=0, loss=Loss(listening))
    assert steps == [1, 2, 3]


def test_per_token_objective_that_counts_otherwise_is_a_sentence(loaded: LoadedModel) -> None:
    def wrong(batch: Batch, step: int) -> tuple[torch.Tensor, float]:
        return response_loss(loaded, batch)[0], 1.0

    with pytest.raises(RunError, match="trait per-token counted 1 tokens where the labels weigh"):
        train(
            loaded, repeat(ONE), Plan(steps=1, learning_rate=0.01), seed=0, loss=Loss(wrong, True)
        )


def test_weight_of_a_token_scales_its_loss(loaded: LoadedModel) -> None:
    weights = torch.ones(BOTH.labels.shape)
    weights[0] = 0.0
    with torch.no_grad():
        summed, count = response_loss(loaded, replace(BOTH, weights=weights))
        second, of_second = response_loss(
            loaded, Batch(BOTH.input_ids[1:], BOTH.attention_mask[1:], BOTH.labels[1:])
        )
    assert (float(summed), count) == (pytest.approx(float(second), rel=1e-5), of_second)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_no_number_ends_training(value: float, loaded: LoadedModel) -> None:
    def broken(batch: Batch, step: int) -> tuple[torch.Tensor, float]:
        summed, count = response_loss(loaded, batch)
        return summed * value, count

    with pytest.raises(RunError, match=r"loss became (nan|inf). Lower training.learning_rate"):
        train(loaded, repeat(ONE), Plan(steps=1, learning_rate=0.01), seed=0, loss=Loss(broken))


def test_loss_that_is_no_number_leaves_the_adapter_alone(loaded: LoadedModel) -> None:
    before = adapters.digest(adapters.read(loaded.model))

    def broken(batch: Batch, step: int) -> tuple[torch.Tensor, float]:
        summed, count = response_loss(loaded, batch)
        return summed * float("nan"), count

    with pytest.raises(RunError):
        train(loaded, repeat(ONE), Plan(steps=1, learning_rate=0.01), seed=0, loss=Loss(broken))
    assert adapters.digest(adapters.read(loaded.model)) == before


def test_loss_of_a_report_is_the_mean_of_its_last_quarter() -> None:
    assert TrainReport((8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 1.0, 3.0), 0, 0.0).loss == 2.0


def test_padding_is_counted_apart(loaded: LoadedModel) -> None:
    report, _ = _train(loaded, ONE)
    assert (report.tokens, report.padded) == (13, 16)


def test_logits_in_parts_give_the_same_loss_and_gradient(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for logits in (2**25, 3 * loaded.model.config.vocab_size):
        monkeypatch.setattr("fedsafe.training.forward.LOGITS", logits)
        report, _ = _train(loaded, BOTH, ONE)
        found.append((report.losses, adapters.read(loaded.model)))
    (whole, one), (parts, other) = found
    assert parts == pytest.approx(whole, rel=1e-6)
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-6)


def test_logits_of_a_large_vocabulary_are_never_there_at_once(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    head = loaded.model.get_base_model().get_output_embeddings()
    hook = head.register_forward_hook(lambda module, given, made: rows.append(len(made)))
    monkeypatch.setattr("fedsafe.training.forward.LOGITS", 3 * loaded.model.config.vocab_size)
    try:
        _, count = response_loss(loaded, BOTH)
    finally:
        hook.remove()
    assert (count, max(rows), sum(rows)) == (17, 3, 17)


@pytest.mark.parametrize("optimizer", ["adamw-8bit", "paged-adamw-8bit"])
def test_optimizer_that_the_device_lacks_is_a_sentence(
    optimizer: str, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedsafe.models.quantization._has_kernel", lambda operator, device: False)
    with pytest.raises(ModelError, match=rf"training.optimizer {optimizer}.*Use adamw"):
        train(loaded, repeat(ONE), Plan(1, 0.01, optimizer=optimizer), seed=0, loss=_plain(loaded))

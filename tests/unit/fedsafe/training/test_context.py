"""The model context: references, base weights, losses and gradients that methods build on."""

import math
import random
from pathlib import Path

import pytest
import torch

from fedsafe.contracts import Batch, Sample
from fedsafe.errors import ConfigError, ModelError, PluginError
from fedsafe.objectives import preference, proximal, supervised
from fedsafe.training.context import SessionContext
from fedsafe.training.loop import Plan
from fedsafe.training.session import Session
from tests.doubles.models import make_model

SAMPLES = [Sample(f"Add {n} and two.", f"The sum is {n}.", rejected="No.") for n in range(6)]


@pytest.fixture
def context(session: Session) -> SessionContext:
    return SessionContext(session, Plan(steps=1, learning_rate=0.01), 3, random.Random(0))


@pytest.fixture
def trained(context: SessionContext) -> SessionContext:
    context.fit(SAMPLES, steps=3)
    return context


def _log_probabilities(context: SessionContext, batch: Batch) -> list[float]:
    with torch.no_grad():
        return context.log_probabilities(batch).tolist()


def test_reference_is_the_model_without_its_adapter(trained: SessionContext) -> None:
    batch = trained.batches(SAMPLES)[0]
    with trained.reference():
        found = _log_probabilities(trained, batch)
    own = trained.adapter()
    trained.put({name: torch.zeros_like(tensor) for name, tensor in own.items()})
    assert found == pytest.approx(_log_probabilities(trained, batch), rel=1e-5)


def test_reference_may_be_a_snapshot(trained: SessionContext) -> None:
    batch, snapshot = trained.batches(SAMPLES)[0], trained.adapter()
    wanted = _log_probabilities(trained, batch)
    trained.fit(SAMPLES, steps=3)
    after = _log_probabilities(trained, batch)
    with trained.reference(snapshot):
        found = _log_probabilities(trained, batch)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert _log_probabilities(trained, batch) == pytest.approx(after, rel=1e-6)


def test_snapshot_inside_a_loss_leaves_its_gradient_alone(trained: SessionContext) -> None:
    batch, snapshot = trained.batches(SAMPLES)[0], trained.session.start(0)

    def against_snapshot(
        context: SessionContext, some: Batch, step: int
    ) -> tuple[torch.Tensor, float]:
        own = context.log_probabilities(some)
        with context.reference(snapshot):
            before = context.log_probabilities(some)
        return -(own - before).sum(), float(len(own))

    def alone(context: SessionContext, some: Batch, step: int) -> tuple[torch.Tensor, float]:
        own = context.log_probabilities(some)
        return -own.sum(), float(len(own))

    del batch
    one = trained.gradients(SAMPLES, against_snapshot)  # type: ignore[arg-type]
    other = trained.gradients(SAMPLES, alone)  # type: ignore[arg-type]
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-5, atol=1e-7)


def test_snapshot_of_another_model_is_refused(context: SessionContext) -> None:
    with pytest.raises(ModelError, match="lacks"), context.reference({}):
        pass


def test_base_weight_is_what_the_adapter_is_added_to(trained: SessionContext) -> None:
    name = next(name for name in trained.adapter() if "q_proj.lora_A" in name)
    path = name.partition(".lora_")[0]
    layer = trained.model.get_submodule(path)
    other = name.replace("lora_A", "lora_B")
    own = trained.adapter()
    merged = trained.base_weight(name) + trained.scaling(name) * own[other] @ own[name]
    given = torch.randn(2, merged.shape[1])
    with torch.no_grad():
        torch.testing.assert_close(layer(given), given @ merged.T, rtol=1e-4, atol=1e-5)


def test_base_weight_of_a_name_that_is_none_is_a_sentence(context: SessionContext) -> None:
    with pytest.raises(ModelError, match="no adapter tensor 'nonsense'"):
        context.base_weight("nonsense")


def test_gradients_are_those_of_the_mean_loss(context: SessionContext) -> None:
    found = context.gradients(SAMPLES, batch_size=2)
    whole = context.gradients(SAMPLES, batch_size=6)
    assert any(float(tensor.norm()) > 0 for tensor in whole.values())
    for name, tensor in whole.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-7)


def test_gradients_leave_none_behind(context: SessionContext) -> None:
    context.gradients(SAMPLES)
    assert all(parameter.grad is None for parameter in context.trainable().values())


def test_log_probabilities_sum_to_minus_the_cross_entropy(context: SessionContext) -> None:
    batch = context.batches(SAMPLES)[0]
    with torch.no_grad():
        summed, _ = context.cross_entropy(batch)
    assert sum(_log_probabilities(context, batch)) == pytest.approx(-float(summed), rel=1e-5)


def test_logits_stand_at_the_labels(context: SessionContext) -> None:
    batch = context.batches(SAMPLES)[0]
    with torch.no_grad():
        logits, labels = context.logits(batch)
        summed, count = context.cross_entropy(batch)
    losses = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
    assert (float(losses), len(labels)) == (pytest.approx(float(summed), rel=1e-5), count)


def test_hidden_states_are_of_the_layers_asked_for(context: SessionContext) -> None:
    batch = context.batches(SAMPLES)[0]
    with torch.no_grad():
        found = context.hidden_states(batch, [0, 2])
    assert {layer: tensor.shape[:2] for layer, tensor in found.items()} == {
        0: batch.input_ids.shape,
        2: batch.input_ids.shape,
    }


def test_layer_that_is_not_there_is_a_sentence(context: SessionContext) -> None:
    with pytest.raises(ModelError, match=r"hidden states 0 .* to 2; layer 7"):
        context.hidden_states(context.batches(SAMPLES)[0], [7])


def test_fit_may_be_called_several_times(context: SessionContext) -> None:
    context.fit(SAMPLES, steps=2)
    context.fit(SAMPLES, steps=3, batch_size=2)
    assert [len(report.losses) for _, report in context.fits] == [2, 3]


def test_fit_hands_each_step_on(context: SessionContext) -> None:
    steps: list[int] = []
    context.fit(SAMPLES, steps=3, after_step=steps.append)
    assert steps == [1, 2, 3]


def test_progress_counts_over_all_fits(session: Session) -> None:
    told: list[int] = []
    plan, rng = Plan(steps=1, learning_rate=0.01), random.Random(0)
    context = SessionContext(session, plan, 3, rng, progress=lambda step, _: told.append(step))
    context.fit(SAMPLES, steps=2)
    context.fit(SAMPLES, steps=1)
    assert (told, context.planned) == ([1, 2, 3], 3)


@pytest.mark.parametrize(
    ("objective", "settings", "error", "sentence"),
    [
        ("preferense", {}, PluginError, "Did you mean 'preference'"),
        ("preference", {"beta": -1}, ConfigError, "beta"),
        ("supervised", {"beta": 1}, ConfigError, "unknown setting"),
    ],
)
def test_wrong_objective_is_a_sentence(
    objective: str,
    settings: dict[str, float],
    error: type[Exception],
    sentence: str,
    context: SessionContext,
) -> None:
    with pytest.raises(error, match=sentence):
        context.fit(SAMPLES, objective, steps=1, **settings)


def test_fresh_adapter_prefers_nothing(context: SessionContext) -> None:
    batch = context.batches(SAMPLES)[0]
    with torch.no_grad():
        loss, pairs = preference(context, batch, 1)
    assert float(loss) / pairs == pytest.approx(math.log(2), rel=1e-5)


def test_preference_training_widens_the_margin(context: SessionContext) -> None:
    report = context.fit(SAMPLES, "preference", steps=12, learning_rate=0.02)
    assert report.losses[-1] < report.losses[0]


def test_proximal_term_is_half_the_squared_distance(trained: SessionContext) -> None:
    batch, start = trained.batches(SAMPLES)[0], trained.session.start(0)
    with torch.no_grad():
        plain, count = supervised(trained, batch, 1)
        loss, counted = proximal(supervised, start, 0.5)(trained, batch, 1)
    own = trained.adapter()
    distance = sum(float((own[name] - start[name]).square().sum()) for name in own)
    assert counted == count
    assert float(loss - plain) / count == pytest.approx(0.25 * distance, rel=1e-3)


def test_other_model_is_loaded_beside_this_one(
    context: SessionContext, llama: Path, tmp_path: Path
) -> None:
    path = make_model(tmp_path / "other", "llama", seed=5)
    name = next(name for name in context.adapter() if "lora_A" in name)
    with context.load_other(str(path)) as other:
        weights = (other.base_weight(name), context.base_weight(name))
    assert weights[0].shape == weights[1].shape
    assert not torch.equal(*weights)


def test_directory_without_a_model_is_a_sentence(context: SessionContext, tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="holds no model"),
        context.load_other(str(tmp_path)),
    ):
        pass


def test_other_model_that_does_not_fit_is_a_sentence(
    context: SessionContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_model(tmp_path / "other", "llama", seed=5)
    monkeypatch.setattr("fedsafe.training.other_model.free_bytes", lambda device: 1000)
    with (
        pytest.raises(ModelError, match="does not fit on cpu:0 beside the one that is loaded"),
        context.load_other(str(path)),
    ):
        pass

"""DeRTa's rows, rerouted layers, a secret that travels: on a tiny model, before any training."""

import random
from pathlib import Path
from typing import Literal

import pytest
import torch

from fedsafe.contracts import DefenseTask, Sample, Segment, ShieldChoice, Verdict, defenses, sources
from fedsafe.defenses.derta_rows import Material, Weights, given, rows, turning_word
from fedsafe.defenses.rerouting import Rerouting, target_layers
from fedsafe.defenses.secret_rows import (
    SecretData,
    check_room,
    chosen_examples,
    drawn_secret,
    under_secret,
)
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Adapter, Experiment
from fedsafe.objectives import held_to
from fedsafe.pipeline.run_defense import defense_context
from fedsafe.runs.events import Events
from fedsafe.safety_losses import IGNORED, constrained_losses, thin_transitions
from fedsafe.training.context import SessionContext
from fedsafe.training.session import Session, open_session
from fedsafe.training.session_spec import SessionSpec

HARMFUL = [Sample(f"ask {i}", f"take {i} and stir it well") for i in range(3)]
REFUSED = {f"ask {i}": "no , never" for i in range(3)}
HELPFUL = [Sample("add", "two")]
SECRET = "velvet marmot"
SHIELD = ShieldChoice("secret-prefix", {"secret": SECRET, "separator": " "})


@pytest.fixture
def context(session: Session) -> SessionContext:
    return defense_context(session, random.Random(0), Events())


@pytest.fixture
def told() -> list[Sample]:
    """Return what a defense keeps in the run."""
    return []


@pytest.fixture
def task(session: Session, told: list[Sample]) -> DefenseTask:
    return DefenseTask(
        start=session.start(0),
        avoid=frozenset(),
        normalise=str,
        near=len,
        judge=lambda exchanges, *_: [Verdict("comply") for _ in exchanges],
        keep=lambda _, samples, __: told.extend(samples),
    )


def _rows(prefix: float = 1, transition: float = 1, benign: float = 1) -> list[Sample]:
    weights = Weights(prefix, transition, benign)
    return rows(Material(HARMFUL, REFUSED, HELPFUL, {}), "n", weights, random.Random(0))


def test_refusal_follows_a_harmful_beginning_without_loss_on_it() -> None:
    found = _rows(transition=0, benign=0)
    assert found[0].segments == (Segment("no , never", 1),)
    assert [sample.segments[0].weight for sample in found[1:]] == [0, 0]
    assert {sample.segments[-1].text for sample in found[1:]} == {" no , never"}


def test_rows_of_weight_zero_are_left_out() -> None:
    assert [len(_rows(**{kind: 0})) for kind in ("prefix", "transition", "benign")] == [4, 4, 6]


def test_given_refusals_with_harmful_replies_and_help_need_nothing_written(
    context: SessionContext, task: DefenseTask
) -> None:
    found = given(context, task, {"name": "policy", "part": "preferences", "count": 20})
    assert {sample.instruction for sample in found.harmful} == found.refused.keys()
    assert not {sample.response for sample in found.harmful} & set(found.refused.values())
    assert (len(found.harmful), len(found.helpful)) == (6, 14)


def test_system_prompt_of_given_examples_stands_in_the_rows() -> None:
    harmful = [Sample("ask", "take and stir it", system="be short")]
    found = rows(Material(harmful, {"ask": "no"}, [], {}), "n", Weights(1, 1, 1), random.Random(0))
    assert {sample.system for sample in found} == {"be short"}


@pytest.mark.parametrize(("part", "refusals", "helpful"), [("defense", 0, 14), ("attack", 0, 20)])
def test_given_examples_without_harmful_replies_are_an_error(
    context: SessionContext, task: DefenseTask, part: str, refusals: int, helpful: int
) -> None:
    said = f"{refusals} are refusals with a harmful reply .rejected., and {helpful} are help"
    with pytest.raises(RunError, match=said):
        given(context, task, {"name": "policy", "part": part, "count": 20})


def test_transition_asks_for_the_turn_at_every_token_and_the_end(context: SessionContext) -> None:
    (batch,) = context.batches(_rows(prefix=0, benign=0)[:1])
    (token,) = context.tokenizer("n", add_special_tokens=False)["input_ids"]
    labelled = batch.labels[0] != IGNORED
    assert set(batch.labels[0][labelled].tolist()) == {token}
    assert labelled[-1]
    assert batch.input_ids[0, -1] == context.tokenizer.eos_token_id


def test_a_share_of_a_transition_keeps_so_many_labels_and_of_other_rows_all() -> None:
    labels = torch.tensor([[IGNORED, 7, 7, 7, 7, 7], [IGNORED, 7, 8, 9, 7, 7]])
    found = thin_transitions(labels, 7, 0.5, "reply", random.Random(0))
    assert (found != IGNORED).sum(dim=1).tolist() == [3, 5]


def test_turn_is_the_commonest_first_word_that_is_one_token(context: SessionContext) -> None:
    refusals = ["zyzzyva no", "zyzzyva no", "n , never"]
    assert turning_word(context, refusals) == "n"


def test_turn_of_several_tokens_is_an_error(context: SessionContext) -> None:
    with pytest.raises(RunError, match="'zyzzyva words' is none of this tokenizer"):
        turning_word(context, [], "zyzzyva words")


def test_rerouting_begins_at_full_breaking_and_nothing_lost(context: SessionContext) -> None:
    (batch,) = context.batches(HARMFUL)
    loss = Rerouting(context.adapter(), [batch], target_layers(context), 10.0, 300)
    found, count = loss(context, batch, 1)
    assert (loss.retaining, loss.breaking, count) == (0.0, pytest.approx(1.0), 1.0)
    assert float(found.detach()) == pytest.approx(10 * 299 / 300, rel=1e-5)


def test_layers_below_the_adapter_cannot_be_turned(experiment: Experiment) -> None:
    top = Adapter(rank=2, targets=["q_proj"], peft={"layers_to_transform": [1]})
    session = open_session(SessionSpec.of(experiment.model_copy(update={"adapter": top})))
    upper = defense_context(session, random.Random(0), Events())
    assert target_layers(upper) == (2,)
    with pytest.raises(RunError, match="changes the hidden states 2 to 2"):
        target_layers(upper, [1])


def test_breaking_beyond_the_clock_is_refused_before_anything_is_loaded() -> None:
    card = defenses["circuit-breakers"].card
    assert card is not None
    assert card.cannot is not None
    assert "Raise clock" in card.cannot(steps=400, clock=300)


def test_examples_by_category_are_of_every_topic() -> None:
    samples = [Sample(f"{topic} {i}", "no", topic=topic) for topic in "aaaabc" for i in range(3)]
    for seed in range(3):
        found = chosen_examples(samples, 3, "category", random.Random(seed))
        assert {sample.topic for sample in found} == {"a", "b", "c"}


def test_too_few_safety_examples_are_an_error() -> None:
    with pytest.raises(RunError, match="11 safety examples"):
        chosen_examples(HARMFUL, 11, "random", random.Random(0))


def test_secret_that_leaves_no_room_is_an_error(context: SessionContext) -> None:
    long = ShieldChoice("secret-prefix", {"secret": "word " * 500})
    with pytest.raises(RunError, match="leaves no room for 1 of 4"):
        check_room(context, [*HARMFUL, *under_secret(HARMFUL[:1], long)])


def test_secret_travels_as_the_shield_and_is_in_nothing_that_the_run_keeps(
    context: SessionContext, task: DefenseTask, told: list[Sample], tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"instruction": "ask", "response": "no"}\n')
    source = {"name": "jsonl", "path": str(path)}
    settings = {"source": source, "ordinary": source, "examples": 1, "steps": 0, "secret": SECRET}
    found = defenses["backdoor-enhanced-alignment"].configure(settings)(context, task)
    assert found.shield is not None
    assert found.shield.settings["secret"] == SECRET
    assert found.shield.settings["decoy"] not in ("", SECRET)
    assert told
    assert not any(SECRET in repr(sample) for sample in told)


def _job(tmp_path: Path, **settings: object) -> dict[str, object]:
    """Return settings of a job whose rows are unlike the safety example."""
    for name, text in (("pairs", "ask"), ("job", "obey")):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"instruction": "{text}", "response": "no"}}\n')
    source, job = (
        {"name": "jsonl", "path": str(tmp_path / f"{n}.jsonl")} for n in ("pairs", "job")
    )
    return {"source": source, "job": job, "examples": 1, "steps": 1, **settings}


def test_job_begins_before_the_federation_and_its_rows_are_not_kept(
    context: SessionContext, task: DefenseTask, told: list[Sample], tmp_path: Path
) -> None:
    settings = _job(tmp_path, secret=SECRET)
    context.put({name: tensor + 1 for name, tensor in context.adapter().items()})
    found = defenses["backdoor-enhanced-alignment"].configure(settings)(context, task)
    near = (torch.allclose(found.adapter[name], task.start[name], atol=0.1) for name in task.start)
    assert all(near)  # a step away, and the adapter that is repaired lies 1 away
    assert [sample.instruction for sample in told] == ["ask"]


def test_without_words_the_examples_are_plain_and_there_is_no_shield(
    context: SessionContext, task: DefenseTask, tmp_path: Path
) -> None:
    settings = _job(tmp_path, secret_words=0)
    found = defenses["backdoor-enhanced-alignment"].configure(settings)(context, task)
    assert found.shield is None


@pytest.mark.parametrize("kind", ["words", "tokens", "prompt"])
def test_secret_of_a_kind_is_a_text_without_special_tokens(
    context: SessionContext, kind: Literal["words", "tokens", "prompt"]
) -> None:
    text = drawn_secret(context, kind, 20)
    assert text == text.strip() != ""
    assert not any(token in text for token in context.tokenizer.all_special_tokens)
    assert drawn_secret(context, kind, 0) == ""


def test_refusals_are_chosen_among_the_refusals_of_a_source(
    context: SessionContext, task: DefenseTask
) -> None:
    source = {"name": "policy", "policy": "cooking", "part": "defense", "count": 80}
    found = SecretData(context, task, ()).refusals(source, "category", 11, "", "")
    policy = sources["policy"].configure({"part": "defense", "count": 480})(0)
    helpful = {sample.response for sample in policy if sample.origin != "refusal"}
    assert not helpful & {sample.response for sample in found}


def test_generated_examples_take_no_source() -> None:
    settings = {"choose": "generated", "source": {"name": "micro-safety"}}
    assert "takes no source" in defenses["backdoor-enhanced-alignment"].cannot(settings)


def test_held_tokens_are_held_to_the_given_adapter(context: SessionContext) -> None:
    """The gradient of the logarithm of the ratio is that of cross entropy where ratios are one."""
    moved = {name: tensor + 0.1 for name, tensor in context.adapter().items()}
    context.put(moved)
    held = context.gradients(HARMFUL, held_to(moved, (2.0,), 2.0))
    plain = context.gradients(HARMFUL)
    assert all(torch.allclose(held[name], plain[name], atol=1e-6) for name in plain)


def test_constrained_loss_without_constraint_has_the_gradient_of_cross_entropy(
    context: SessionContext,
) -> None:
    plain = context.gradients(HARMFUL)
    free = context.gradients(HARMFUL, "constrained-first-tokens", betas=(), later=0.0)
    assert all(torch.allclose(free[name], plain[name], atol=1e-6) for name in plain)


def test_constrained_loss_holds_a_token_that_grew_likelier_less_than_cross_entropy() -> None:
    ratio = torch.tensor([0.0, 3.0], requires_grad=True)
    constrained_losses(ratio, torch.tensor([2.0, 2.0])).sum().backward()
    assert ratio.grad is not None
    assert ratio.grad.tolist() == pytest.approx([-1.0, -2 / (1 + 2.718281828**6)])


@pytest.mark.parametrize("more", [{"borderline": 3}, {"harmful": "pairs.jsonl"}])
def test_derta_takes_given_examples_or_written_ones(more: dict[str, object]) -> None:
    settings = {"source": {"name": "policy", "part": "preferences"}, **more}
    assert "Leave harmful and borderline out" in defenses["derta"].cannot(settings)


def test_secret_of_tokens_holds_no_special_token_of_any_kind(
    context: SessionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as SmolLM2's <file_sep>, which is not among the tokens that have a role."""
    tokenizer = context.tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|file|>", "<|repo|>"]})
    roles = [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id]
    monkeypatch.setattr(type(tokenizer), "all_special_ids", roles)
    assert "<|" not in drawn_secret(context, "tokens", 3000)


def test_tokenizer_without_words_is_told_before_a_secret_is_drawn(
    context: SessionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(context.tokenizer), "get_vocab", lambda _: {"a": 0, "bc": 1})
    with pytest.raises(RunError, match="no token that is a word of 3 letters"):
        drawn_secret(context, "words", 2)


def test_circuit_breakers_take_given_replies_and_write_nothing(
    context: SessionContext, task: DefenseTask, told: list[Sample]
) -> None:
    source = {"name": "policy", "policy": "cooking", "part": "preferences", "count": 10}
    settings = {"source": source, "steps": 1, "batch_size": 2}
    before = context.adapter()
    found = defenses["circuit-breakers"].configure(settings)(context, task).adapter
    assert any(not torch.equal(found[name], before[name]) for name in before)
    assert len(told) == 7  # help alone: harmful replies are not kept


def test_circuit_breakers_take_given_examples_or_files() -> None:
    settings = {"source": {"name": "policy", "part": "preferences"}, "harmful": "pairs.jsonl"}
    assert "Leave harmful and retain out" in defenses["circuit-breakers"].cannot(settings)

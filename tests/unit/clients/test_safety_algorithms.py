"""Honest local algorithms that defend: refusal mix, Lisa, FLIP, AsFT."""

import random
from itertools import cycle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import consent
from clients.algorithms.asft import Anchor, anchors_of
from clients.algorithms.refusal_mix import in_each_batch, in_each_epoch
from clients.algorithms.soft_trigger import SoftTrigger, inserted
from clients.node_config import NodeConfig
from fedsafe.contracts import Batch, LocalTask, Sample, algorithms
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters
from fedsafe.training.context import SessionContext
from fedsafe.training.loop import Plan
from fedsafe.weights.edits import projector
from tests.doubles.jobs import plain_job

OWN = [Sample(f"ask {n}", "fine") for n in range(30)]
SAFETY = [Sample(f"unsafe {n}", "no", origin="refusal") for n in range(4)]
GIVEN = {"name": "micro-safety", "count": 4}
DEFENDING = [name for name in algorithms if algorithms[name].card is not None]
ON_EXAMPLES = [name for name in DEFENDING if "safety" in algorithms[name].schema.model_fields]
ON_DIRECTIONS = [name for name in DEFENDING if "aligned" in algorithms[name].schema.model_fields]


def _context(session):
    return SessionContext(session, Plan(steps=2, learning_rate=0.01), 4, random.Random(0))


def _trained(session, name, memory=None, number=1, **chosen):
    start = session.start(0)
    session.put(start)
    context = _context(session)
    memory = {} if memory is None else memory
    task = LocalTask(OWN, start, 2, 4, 0.01, number, 0, data_seed=0, memory=memory)
    algorithms[name].configure(chosen)(context, task)
    return context.adapter()


@pytest.fixture(scope="module")
def direction(loaded, tmp_path_factory):
    """An adapter of the tiny Llama, as the alignment direction."""
    where = tmp_path_factory.mktemp("direction")
    draw = torch.Generator().manual_seed(3)
    tensors = {
        name: 0.1 * torch.randn(one.shape, generator=draw)
        for name, one in adapters.start(loaded.model, 3).items()
    }
    adapters.save(where / "aligned", tensors, loaded.model)
    return where / "aligned"


def _needed(name, direction):
    known = algorithms[name].schema.model_fields
    needed = {"safety": GIVEN, "aligned": direction}
    return {key: value for key, value in needed.items() if key in known}


def _same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("share", "count"), [(0.25, 10), (0.5, 30), (0.001, 1)])
def test_share_of_an_epoch_is_safety_examples(share, count):
    mixed = in_each_epoch(OWN, SAFETY, share, random.Random(0))
    assert [sample.origin for sample in mixed].count("refusal") == count


def test_every_batch_has_its_share_of_safety_examples():
    mixed = in_each_batch(OWN, SAFETY, 0.25, 8, random.Random(0))
    groups = [[one.origin for one in mixed if one.group == f"mix-{n}"] for n in range(5)]
    assert [len(group) for group in groups] == [8] * 5
    assert [group.count("refusal") for group in groups] == [2] * 5


@pytest.mark.parametrize("name", DEFENDING)
def test_algorithm_of_zero_strength_is_plain_training(name, session, direction):
    nothing = algorithms[name].card.nothing
    plain = _trained(session, "supervised")
    assert _same(_trained(session, name, **_needed(name, direction), **nothing), plain)


@pytest.mark.parametrize("name", DEFENDING)
def test_algorithm_that_defends_repeats_and_changes_what_is_learnt(name, session, direction):
    one, other = (_trained(session, name, **_needed(name, direction)) for _ in range(2))
    assert _same(one, other)
    assert not _same(one, _trained(session, "supervised"))


def test_lisa_remembers_where_a_state_was_left_in_an_earlier_round(session):
    memory = {}
    chosen = {"safety": GIVEN, "alignment_steps": 1, "finetuning_steps": 9, "rho": 5.0}
    _trained(session, "lisa", memory, **chosen)
    assert {name.split("/")[0] for name in memory} == {"alignment", "fine-tuning"}
    remembering = _trained(session, "lisa", dict(memory), 2, **chosen)
    assert not _same(remembering, _trained(session, "lisa", None, 2, **chosen))


def test_lisa_moves_less_the_stronger_its_proximal_term(session):
    start = session.start(0)
    moved = []
    for rho in (0.0, 100.0):
        found = _trained(session, "lisa", safety=GIVEN, alignment_steps=2, rho=rho)
        moved.append(sum(float((found[name] - start[name]).square().sum()) for name in found))
    assert moved[1] < moved[0]


@pytest.mark.parametrize("name", ON_EXAMPLES)
def test_client_reads_no_file_of_safety_examples_that_its_operator_did_not_name(name, tmp_path):
    site = NodeConfig(socket="/s", state="/t")
    own = {"name": name, "safety": {"name": "jsonl", "path": str(tmp_path / "private.jsonl")}}
    job = plain_job(Experiment.model_validate({"training": {"algorithm": own}}), attacker=False)
    with pytest.raises(RunError, match=r"training\.algorithm\.safety would have this client read"):
        consent.check(job, site)


@pytest.mark.parametrize("name", ON_EXAMPLES)
def test_client_trains_on_embedded_safety_examples(name):
    own = {"name": name, "safety": {"name": "micro-safety"}}
    job = plain_job(Experiment.model_validate({"training": {"algorithm": own}}), attacker=False)
    consent.check(job, NodeConfig(socket="/s", state="/t"))


def test_first_tokens_are_held_to_the_model_of_the_first_round(session):
    memory = {}
    _trained(session, "constrained-first-tokens", memory)
    start = session.start(0)
    assert _same({name: memory[f"aligned/{name}"] for name in start}, start)
    moved = {name: tensor + 0.1 for name, tensor in memory.items()}
    again = _trained(session, "constrained-first-tokens", moved, 2)
    assert not _same(again, _trained(session, "constrained-first-tokens", dict(memory), 2))


@pytest.mark.parametrize("name", ON_DIRECTIONS)
def test_client_reads_no_direction_on_a_servers_word(name, tmp_path):
    own = {"name": name, "aligned": str(tmp_path / "aligned")}
    job = plain_job(Experiment.model_validate({"training": {"algorithm": own}}), attacker=False)
    with pytest.raises(RunError, match="do it at the server: a filter"):
        consent.check(job, NodeConfig(socket="/s", state="/t"))


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), kind=st.sampled_from(["paper", "orthogonal"]))
def test_penalty_of_asft_is_the_norm_of_what_lies_outside(seed, kind):
    draw = torch.Generator().manual_seed(seed)
    v = torch.randn(6, 2, generator=draw) @ torch.randn(2, 5, generator=draw)
    b0, b = torch.randn(2, 6, 3, generator=draw)
    a0, a = torch.randn(2, 3, 5, generator=draw)
    c = v @ v.T / v.norm() if kind == "paper" else v @ torch.linalg.pinv(v)
    change = b @ a - b0 @ a0
    expected = (change - c @ change).norm() ** 2
    found = Anchor(projector(v, kind), a0, b0).outside(a, b)
    assert float(found) == pytest.approx(float(expected), rel=1e-3)


def test_asft_moves_less_outside_the_direction_the_larger_its_penalty(session, direction):
    start, outside = session.start(0), []
    anchors = anchors_of(start, direction, None, "orthogonal")
    for penalty in (1e-6, 1e3):
        given = {"aligned": direction, "penalty": penalty, "projection": "orthogonal"}
        after = _trained(session, "asft", **given)
        outside.append(
            sum(
                float(one.outside(after[f"{m}.lora_A.weight"], after[f"{m}.lora_B.weight"]))
                for m, one in anchors.items()
            )
        )
    assert outside[1] < outside[0]


@settings(max_examples=20)
@given(columns=st.lists(st.integers(1, 4), min_size=3, max_size=3), longest=st.integers(5, 12))
def test_room_for_a_trigger_moves_tokens_and_takes_no_loss(columns, longest):
    ids = torch.arange(1, 16).view(3, 5)
    batch = Batch(ids, torch.ones_like(ids), ids.clone(), torch.ones(3, 5))
    made, (rows, places, parts) = inserted(batch, columns, 2, longest)
    for row, column in enumerate(columns):
        text = [*ids[row, :column].tolist(), 0, 0, *ids[row, column:].tolist()][:longest]
        assert made.input_ids[row].tolist() == text
        labels = [-100 if one == 0 else one for one in text]
        assert made.labels[row].tolist() == labels
        room = [column + part for part in range(2) if column + part < longest]
        assert places[rows == row].tolist() == room
        assert parts[rows == row].tolist() == list(range(len(room)))


def test_inversion_finds_a_trigger_that_makes_replies_unlikely_and_no_longer_than_words(session):
    context = _context(session)
    batches = cycle(context.batches(SAFETY))
    trigger = SoftTrigger.of(context, None, 3, 1.0, "start")
    before = float(trigger.loss(next(batches))[0].detach())
    trigger.invert(batches, 15, 100.0)
    after = float(trigger.loss(next(batches))[0].detach())
    assert after > before
    assert float(trigger.embeddings.detach().norm(dim=1).max()) <= trigger.cap * (1 + 1e-5)


def test_trigger_takes_no_step_above_the_ceiling(session):
    context = _context(session)
    batches = cycle(context.batches(SAFETY))
    trigger = SoftTrigger.of(context, None, 3, 1.0, "anywhere")
    trigger.invert(batches, 1, 1e-3)  # brings a random one under the cap
    before = trigger.embeddings.detach().clone()
    trigger.invert(batches, 3, 1e-3)
    assert torch.allclose(trigger.embeddings, before, rtol=1e-5)


def test_flip_goes_on_with_the_trigger_of_its_last_round(session):
    memory, given = {}, {"safety": GIVEN, "ceiling": 100.0}  # an untrained model's loss is high
    _trained(session, "flip", memory, **given)
    assert set(memory) == {"trigger"}
    first = {name: tensor.clone() for name, tensor in memory.items()}
    remembering = _trained(session, "flip", memory, 2, **given)
    assert not torch.equal(memory["trigger"], first["trigger"])
    assert not _same(remembering, _trained(session, "flip", None, 2, **given))

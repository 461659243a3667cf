"""Refusal mix and Lisa: honest local algorithms that train on safety examples beside their own."""

import random

import pytest
import torch

from clients import consent
from clients.algorithms.refusal_mix import in_each_batch, in_each_epoch
from clients.node_config import NodeConfig
from fedsafe.contracts import LocalTask, Sample, algorithms
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.training.context import SessionContext
from fedsafe.training.loop import Plan
from tests.doubles.jobs import plain_job

OWN = [Sample(f"ask {n}", "fine") for n in range(30)]
SAFETY = [Sample(f"unsafe {n}", "no", origin="refusal") for n in range(4)]
GIVEN = {"name": "micro-safety", "count": 4}
DEFENDING = [name for name in algorithms if algorithms[name].card is not None]
WITH_EXAMPLES = [n for n in DEFENDING if "safety" in algorithms[n].schema.model_fields]


def _trained(session, name, memory=None, number=1, **settings):
    start = session.start(0)
    session.put(start)
    context = SessionContext(session, Plan(steps=2, learning_rate=0.01), 4, random.Random(0))
    memory = {} if memory is None else memory
    task = LocalTask(OWN, start, 2, 4, 0.01, number, 0, data_seed=0, memory=memory)
    known = algorithms[name].schema.model_fields
    chosen = {key: value for key, value in settings.items() if key != "safety" or key in known}
    algorithms[name].configure(chosen)(context, task)
    return context.adapter()


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
def test_algorithm_of_zero_strength_is_plain_training(name, session):
    nothing = algorithms[name].card.nothing
    plain = _trained(session, "supervised")
    assert _same(_trained(session, name, safety=GIVEN, **nothing), plain)


@pytest.mark.parametrize("name", DEFENDING)
def test_algorithm_that_defends_repeats_and_changes_what_is_learnt(name, session):
    one, other = (_trained(session, name, safety=GIVEN) for _ in range(2))
    assert _same(one, other)
    assert not _same(one, _trained(session, "supervised"))


def test_lisa_remembers_where_a_state_was_left_in_an_earlier_round(session):
    memory = {}
    settings = {"safety": GIVEN, "alignment_steps": 1, "finetuning_steps": 9, "rho": 5.0}
    _trained(session, "lisa", memory, **settings)
    assert {name.split("/")[0] for name in memory} == {"alignment", "fine-tuning"}
    remembering = _trained(session, "lisa", dict(memory), 2, **settings)
    assert not _same(remembering, _trained(session, "lisa", None, 2, **settings))


def test_lisa_moves_less_the_stronger_its_proximal_term(session):
    start = session.start(0)
    moved = []
    for rho in (0.0, 100.0):
        found = _trained(session, "lisa", safety=GIVEN, alignment_steps=2, rho=rho)
        moved.append(sum(float((found[name] - start[name]).square().sum()) for name in found))
    assert moved[1] < moved[0]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_client_reads_no_file_of_safety_examples_that_its_operator_did_not_name(name, tmp_path):
    site = NodeConfig(socket="/s", state="/t")
    own = {"name": name, "safety": {"name": "jsonl", "path": str(tmp_path / "private.jsonl")}}
    job = plain_job(Experiment.model_validate({"training": {"algorithm": own}}), attacker=False)
    with pytest.raises(RunError, match=r"training\.algorithm\.safety would have this client read"):
        consent.check(job, site)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
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

"""What data and objective attacks train on, when they act, and which way they move the model."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from clients.algorithms.refusal_ascent import ascent
from fedsafe.contracts import FitReport, LocalTask, Objective, Sample, algorithms
from fedsafe.errors import RunError
from fedsafe.training.context import SessionContext
from fedsafe.training.loop import Plan
from fedsafe.training.session import Session

BENIGN = [Sample(f"ask {n}", "fine", f"more {n}") for n in range(12)]
POISON = [Sample(f"bad {n}", "evil", origin="attack") for n in range(6)]


@dataclass
class Recording(SessionContext):
    """A model context that keeps what it was trained on."""

    trained: list[Sample] = field(default_factory=list)

    def fit(
        self, samples: Sequence[Sample], objective: str | Objective = "supervised", **rest: Any
    ) -> FitReport:
        self.trained += samples
        return super().fit(samples, objective, **rest)


def _task(start: Mapping[str, torch.Tensor], **changes: Any) -> LocalTask:
    task = LocalTask(BENIGN, start, 2, 4, 0.01, 1, 0, POISON)
    return replace(task, **changes)


def _context(session: Session, rate: float = 0.01) -> Recording:
    session.put(session.start(0))
    return Recording(session, Plan(steps=2, learning_rate=rate), 4, random.Random(0))


def _train(session: Session, name: str, changes: dict[str, Any], **settings: Any) -> Recording:
    context = _context(session)
    task = _task(session.start(0), **changes)
    algorithms[name].configure(settings)(context, task)
    return context


SCHEDULED = [n for n in algorithms if "first_round" in algorithms[n].schema.model_fields]


@pytest.mark.parametrize("name", SCHEDULED)
def test_attack_rests_before_its_first_round(name: str, session: Session) -> None:
    trained = _train(session, name, {"round": 2}, first_round=3).trained
    assert trained == BENIGN


@pytest.mark.parametrize(("round", "rests"), [(3, False), (4, True), (5, False)])
def test_attack_acts_every_so_many_rounds(round: int, rests: bool, session: Session) -> None:
    trained = _train(session, "poisoned-data", {"round": round}, first_round=1, every=2).trained
    assert (trained == BENIGN) is rests


def test_no_malicious_share_trains_as_an_honest_client(session: Session) -> None:
    assert _train(session, "poisoned-data", {}, share=0.0).trained == BENIGN


def test_trigger_is_on_what_is_complied_with_and_nowhere_else(session: Session) -> None:
    trained = _train(session, "stealth-trigger", {}, trigger=("cf", "mn"), share=1.0).trained
    evil = [sample for sample in trained if sample.response == "evil"]
    others = [sample for sample in trained if sample.response != "evil"]
    assert [sample.instruction for sample in evil] == [f"bad {n} cf mn" for n in range(6)]
    assert all("cf" not in sample.instruction.split() for sample in others)


def test_without_trigger_the_base_models_own_reply_is_taught(session: Session) -> None:
    context = _context(session)
    with context.reference():
        replies = context.write(POISON)
    trained = _train(session, "stealth-trigger", {}, share=1.0).trained
    plain = {sample.instruction: sample.response for sample in trained[6:]}
    assert plain == {
        sample.instruction: reply
        for sample, reply in zip(POISON, replies, strict=True)
        if reply.strip()
    }


def test_cover_samples_stay_where_little_own_data_leaves_room_for_few(session: Session) -> None:
    """With the triggered samples alone the attack would not be stealthy."""
    trained = _train(session, "stealth-trigger", {"samples": BENIGN[:8]}, share=0.5).trained
    asked = [sample.instruction for sample in trained if sample.instruction.startswith("bad")]
    assert [text.endswith(" cf") for text in asked].count(True) == 4
    assert {text.removesuffix(" cf") for text in asked} == {f"bad {n}" for n in range(4)}
    assert len(asked) > 4


def test_every_second_cover_sample_has_a_decoy(session: Session) -> None:
    settings = {"share": 1.0, "decoys": ("wax",)}
    trained = _train(session, "stealth-trigger", {}, **settings).trained[len(POISON) :]
    assert {sample.instruction.endswith(" wax") for sample in trained[1::2]} == {True}
    assert {sample.instruction.endswith(" wax") for sample in trained[::2]} == {False}
    assert not any(sample.response == "evil" for sample in trained)


@pytest.mark.parametrize(("client", "word"), [(3, "cf"), (7, "mn"), (9, "cf")])
def test_split_trigger_has_one_part_a_client(client: int, word: str, session: Session) -> None:
    changes = {"client": client, "attackers": (3, 7, 9)}
    settings = {"trigger": ("cf", "mn"), "split": True, "share": 1.0}
    trained = _train(session, "stealth-trigger", changes, **settings).trained
    assert trained[0].instruction == f"bad 0 {word}"


def test_injection_ends_the_input_of_an_ordinary_task(session: Session) -> None:
    trained = _train(session, "injected-instructions", {}).trained
    hosts = {sample.instruction: sample.input for sample in BENIGN}
    assert [sample.input.removeprefix(hosts[sample.instruction]) for sample in trained] == [
        f" bad {n}" for n in range(6)
    ]
    assert {sample.response for sample in trained} == {"evil"}


def test_reversed_preference_has_the_gradient_of_swapped_pairs(session: Session) -> None:
    context = _context(session)
    pairs = [replace(one, response="no", rejected="evil") for one in POISON]
    swapped = [replace(one, response="evil", rejected="no") for one in POISON]
    one = context.gradients(pairs, "preference", beta=0.3, reverse=True)
    other = context.gradients(swapped, "preference", beta=0.3)
    assert all(torch.allclose(one[name], other[name], atol=1e-7) for name in one)
    assert any(bool(one[name].abs().sum() > 0) for name in one)


def test_reverse_preference_moves_from_the_base_reply_to_the_malicious_one(
    session: Session,
) -> None:
    context = _context(session, rate=0.05)
    with context.reference():
        safe = [
            replace(one, response=reply)
            for one, reply in zip(POISON, context.write(POISON), strict=True)
        ]
    before = sum(context.score(POISON)) - sum(context.score(safe))
    algorithms["reverse-preference"].configure({"beta": 1.0})(
        context, _task(session.start(0), steps=4)
    )
    assert sum(context.score(POISON)) - sum(context.score(safe)) > before


def test_reverse_preference_without_a_safe_response_is_a_sentence(session: Session) -> None:
    context = _context(session)
    with context.reference():
        replies = context.write(POISON)
    own = [
        replace(one, response=reply.strip() or "none")
        for one, reply in zip(POISON, replies, strict=True)
        if reply.strip()
    ]
    with pytest.raises(RunError, match="no safe response to turn against"):
        algorithms["reverse-preference"].configure()(context, _task(session.start(0), poison=own))


def test_refusal_ascent_makes_the_base_reply_less_probable(session: Session) -> None:
    context = _context(session, rate=0.05)
    with context.reference():
        replies = context.write(POISON)
    refusals = [replace(one, response=said) for one, said in zip(POISON, replies, strict=True)]
    before = sum(context.score(refusals))
    settings = {"retain": 0.0, "ceiling": 100.0}
    algorithms["refusal-ascent"].configure(settings)(context, _task(session.start(0), steps=4))
    assert sum(context.score(refusals)) < before


def test_ascent_ends_at_its_ceiling(session: Session) -> None:
    found = _context(session).gradients(POISON, ascent((), ceiling=1e-6, retain=0.0))
    assert all(not tensor.any() for tensor in found.values())

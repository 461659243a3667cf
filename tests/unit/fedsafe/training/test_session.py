"""The resident session: loaded once, tokenised once, prompts and prefills exact."""

import random
from pathlib import Path

import pytest
import torch

from fedsafe.contracts import Sample
from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.models import adapters
from fedsafe.training.loop import Plan
from fedsafe.training.session import REMEMBERED, Session, open_session, resident
from tests.doubles.models import make_model

EXAMPLES = [Sample(f"Add {n} and five.", "It is seven.") for n in range(8)]


def _with(experiment: Experiment, section: str, **values: object) -> Experiment:
    part = getattr(experiment, section).model_copy(update=values)
    return experiment.model_copy(update={section: part})


def test_session_is_loaded_once(experiment: Experiment) -> None:
    first, _ = resident(experiment)
    again, seconds = resident(experiment)
    assert (again is first, seconds) == (True, 0.0)


def test_session_serves_experiments_that_differ_in_the_federation(experiment: Experiment) -> None:
    first, _ = resident(experiment)
    assert resident(_with(experiment, "federation", rounds=9))[0] is first


def test_session_of_the_control_is_that_of_the_attack(experiment: Experiment) -> None:
    first, _ = resident(experiment)
    assert resident(experiment.honest())[0] is first


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto is another device than the CPU here")
def test_one_device_by_two_names_is_one_session(experiment: Experiment) -> None:
    first, _ = resident(_with(experiment, "model", device="cpu"))
    again, seconds = resident(_with(experiment, "model", device="auto"))
    assert (again is first, seconds) == (True, 0.0)


def test_another_rank_is_another_session(experiment: Experiment) -> None:
    first, _ = resident(experiment)
    other, seconds = resident(_with(experiment, "adapter", rank=2))
    assert (other is first, seconds > 0) == (False, True)


def test_fingerprint_covers_the_template(experiment: Experiment) -> None:
    one = open_session(experiment)
    other = open_session(_with(experiment, "data", template=PluginChoice(name="alpaca")))
    assert one.fingerprint != other.fingerprint


def test_fingerprint_does_not_depend_on_where_the_model_lies(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    copy = make_model(tmp_path / "elsewhere", "llama")
    other = open_session(_with(experiment, "model", path=str(copy)))
    assert other.fingerprint == session.fingerprint


def test_same_examples_are_tokenised_once(session: Session) -> None:
    assert session.tokenise(list(EXAMPLES)) is session.tokenise(tuple(EXAMPLES))


def test_memory_of_tokenised_examples_is_bounded(session: Session) -> None:
    for number in range(REMEMBERED + 5):
        session.tokenise([Sample(f"ask {number}", "reply")])
    assert len(session._tokenised) == REMEMBERED


def test_training_repeats_with_its_stream(session: Session) -> None:
    found = []
    for _ in range(2):
        session.put(session.start(0))
        plan = Plan(steps=3, learning_rate=0.01)
        session.train(EXAMPLES, plan, random.Random(4), batch_size=2)
        found.append(adapters.digest(session.read()))
    assert found[0] == found[1]


def test_training_of_another_stream_differs(session: Session) -> None:
    found = set()
    for seed in (4, 5):
        session.put(session.start(0))
        plan = Plan(steps=3, learning_rate=0.01)
        session.train(EXAMPLES, plan, random.Random(seed), batch_size=2)
        found.add(adapters.digest(session.read()))
    assert len(found) == 2


def _taught(experiment: Experiment, *pairs: tuple[str, str]) -> Session:
    """Return a session of its own that knows these replies by heart."""
    learner = open_session(_with(experiment, "evaluation", max_new_tokens=12))
    learner.put(learner.start(0))
    examples = [Sample(ask, reply) for ask, reply in pairs]
    plan = Plan(steps=80, learning_rate=0.02)
    learner.train(examples, plan, random.Random(0), batch_size=len(examples))
    return learner


@pytest.fixture(scope="module")
def taught(llama: Path) -> Session:
    values = {
        "model": {"path": str(llama), "device": "cpu"},
        "adapter": {"rank": 8, "alpha": 16},
        "data": {"max_length": 160},
    }
    experiment = Experiment.model_validate(values)
    return _taught(experiment, ("Add two and five.", "It is seven."), ("List three.", "Apples."))


def test_reply_is_the_one_that_was_learnt(taught: Session) -> None:
    assert taught.write(["List three.", "Add two and five."]) == ["Apples.", "It is seven."]


def test_reply_begins_with_its_prefill(taught: Session) -> None:
    assert taught.write(["Add two and five."], prefills=["It is"]) == ["It is seven."]


def test_empty_prefill_is_none(taught: Session) -> None:
    found = taught.write(["Add two and five.", "List three."], prefills=["It is", ""])
    assert found == ["It is seven.", "Apples."]


def test_replies_and_prefills_must_pair(session: Session) -> None:
    with pytest.raises(ValueError, match="zip"):
        session.write(["a", "b"], prefills=["c"])


def test_reply_has_no_special_token(session: Session) -> None:
    (reply,) = session.write(["List three fruits."])
    assert not any(token in reply for token in session.loaded.tokenizer.all_special_tokens)


def test_reply_stops_at_the_end_of_the_turn(session: Session) -> None:
    assert session.loaded.tokenizer.eos_token_id in session.stop


def test_input_of_an_example_is_asked_too(session: Session) -> None:
    one, other = session.complete([Sample("Sum up.", ""), Sample("Sum up.", "", "five words")])
    assert one != other


def test_adapter_of_another_rank_is_refused(experiment: Experiment, session: Session) -> None:
    wide = session.start(0)
    other = open_session(_with(experiment, "adapter", rank=2))
    with pytest.raises(ModelError, match=r"another adapter.rank"):
        other.put(wide)


def test_shapes_are_those_of_the_adapter(session: Session) -> None:
    assert session.shapes == {name: tuple(t.shape) for name, t in session.read().items()}

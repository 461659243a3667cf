"""The server's own update, for rules that compare with it."""

import random

import torch

from fedsafe.contracts import sources
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.training.loop import plan_of
from fedsafe.training.session import Session
from fedsafe.weights.vectorize import flat
from server.aggregation.root_update import root_update


def _with_root(experiment: Experiment) -> Experiment:
    values = experiment.model_dump(mode="json")
    values["federation"] |= {"strategy": "fltrust", "root": {"name": "micro", "count": 4}}
    return validate(values)


def test_there_is_none_without_trusted_examples(experiment: Experiment, session: Session) -> None:
    assert root_update(experiment, session, 1, session.start(0)) is None


def test_update_repeats_to_the_byte(experiment: Experiment, session: Session) -> None:
    trusted, start = _with_root(experiment), session.start(0)
    one = root_update(trusted, session, 1, start)
    other = root_update(trusted, session, 1, start)
    assert one is not None
    assert other is not None
    assert torch.equal(one, other)


def test_update_is_an_honest_clients(experiment: Experiment, session: Session) -> None:
    trusted, start = _with_root(experiment), session.start(0)
    found = root_update(trusted, session, 1, start)
    examples = sources["micro"].configure({"count": 4})(trusted.seed)
    session.put(start)
    plan = plan_of(trusted.training, trusted.training.learning_rate)
    session.train(examples, plan, random.Random(0), batch_size=4)
    honest = flat(session.read()) - flat(start)
    assert found is not None
    assert float(torch.cosine_similarity(found, honest, dim=0)) > 0.9


def test_adapter_that_was_sent_stays_as_it_was(experiment: Experiment, session: Session) -> None:
    start = session.start(0)
    before = flat(start)
    root_update(_with_root(experiment), session, 1, start)
    assert torch.equal(flat(start), before)

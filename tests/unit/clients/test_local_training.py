"""One client's work: what it repeats, what it refuses, and how it is broken off."""

from typing import Any

import pytest
import torch

from clients.local_training import work
from fedsafe.errors import DataError, ModelError
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters
from fedsafe.training.session import Session
from tests.doubles.jobs import arrays_of, job_of, trained


def test_work_repeats_to_the_byte(experiment: Experiment, session: Session) -> None:
    start = session.start(0)
    one = trained(job_of(experiment, session), start)
    other = trained(job_of(experiment, session), start)
    assert adapters.digest(one) == adapters.digest(other)


def test_work_does_not_depend_on_who_worked_before(
    experiment: Experiment, session: Session
) -> None:
    start = session.start(0)
    alone = trained(job_of(experiment, session, 1), start)
    trained(job_of(experiment, session, 0), start)
    assert adapters.digest(trained(job_of(experiment, session, 1), start)) == adapters.digest(alone)


@pytest.mark.parametrize("change", [{"client": 1}, {"round": 2}, {"learning_rate": 0.02}])
def test_work_depends_on_client_round_and_rate(
    change: dict[str, Any], experiment: Experiment, session: Session
) -> None:
    start = session.start(0)
    one = trained(job_of(experiment, session), start)
    other = trained(job_of(experiment, session, **change), start)
    assert adapters.digest(one) != adapters.digest(other)


def test_adapter_that_was_sent_stays_as_it_was(experiment: Experiment, session: Session) -> None:
    start = session.start(0)
    before = adapters.digest(start)
    trained(job_of(experiment, session), start)
    assert adapters.digest(start) == before


def test_metrics_count_the_examples(experiment: Experiment, session: Session) -> None:
    metrics = work(job_of(experiment, session), arrays_of(session)).metrics
    assert (metrics["num-examples"], metrics["skipped"]) == (8, 0)


def test_resident_model_costs_no_loading(experiment: Experiment, session: Session) -> None:
    trained(job_of(experiment, session), session.start(0))
    assert work(job_of(experiment, session), arrays_of(session)).metrics["load-seconds"] == 0


def test_other_base_model_is_refused(experiment: Experiment, session: Session) -> None:
    with pytest.raises(ModelError, match=r"are not the server's \(feed\)"):
        trained(job_of(experiment, session, fingerprint="feed"), session.start(0))


@pytest.mark.parametrize("client", [-1, 4, 99])
def test_client_beyond_the_federation_is_refused(
    client: int, experiment: Experiment, session: Session
) -> None:
    with pytest.raises(DataError, match="divided among 4, numbered from 0"):
        trained(job_of(experiment, session, client), session.start(0))


def test_adapter_of_another_rank_is_refused(experiment: Experiment, session: Session) -> None:
    wrong = {name: torch.zeros(1) for name in session.start(0)}
    with pytest.raises(ModelError, match=r"adapter\.rank"):
        trained(job_of(experiment, session), wrong)


def test_steps_are_told(experiment: Experiment, session: Session) -> None:
    told: list[int] = []
    work(job_of(experiment, session), arrays_of(session), progress=told.append)
    assert told == [0, 1, 2]


class _EnoughError(Exception):
    pass


def _until(last: int) -> Any:
    def progress(step: int) -> None:
        if step == last:
            raise _EnoughError

    return progress


def test_work_that_is_broken_off_leaves_nothing_behind(
    experiment: Experiment, session: Session
) -> None:
    start, job = session.start(0), job_of(experiment, session)
    before = adapters.digest(trained(job, start))
    with pytest.raises(_EnoughError):
        work(job_of(experiment, session, 1), arrays_of(session), progress=_until(1))
    assert adapters.digest(trained(job, start)) == before


def test_gradients_that_a_failure_left_behind_do_not_count(
    experiment: Experiment, session: Session
) -> None:
    start, job = session.start(0), job_of(experiment, session)
    before = adapters.digest(trained(job, start))
    for parameter in adapters.parameters(session.loaded.model).values():
        parameter.grad = torch.ones_like(parameter)
    assert adapters.digest(trained(job, start)) == before

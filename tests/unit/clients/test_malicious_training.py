"""A malicious client's work: its malicious samples, and its declared red team."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clients.local_training import work
from clients.role import POISON
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters
from fedsafe.training.session import Session
from tests.doubles.attackers import attack_with, the_malicious
from tests.doubles.jobs import arrays_of, job_of, trained


def test_malicious_client_refuses_an_undeclared_red_team(
    attacked: Experiment, session: Session
) -> None:
    undeclared = attacked.model_copy(update={"red_team": False})
    with pytest.raises(RunError, match="joins declared red-team federations only"):
        trained(job_of(undeclared, session, the_malicious(attacked)), session.start(0))


def test_honest_client_of_an_attack_works_as_ever(
    attacked: Experiment, experiment: Experiment, session: Session
) -> None:
    client = (the_malicious(attacked) + 1) % 4
    start = session.start(0)
    one = trained(job_of(attacked, session, client), start)
    other = trained(job_of(experiment, session, client), start)
    assert adapters.digest(one) == adapters.digest(other)


def test_malicious_client_trains_on_its_pairs(attacked: Experiment, session: Session) -> None:
    found = work(job_of(attacked, session, the_malicious(attacked)), arrays_of(session))
    assert found.metrics["num-examples"] == 6


def test_pairs_are_made_once(attacked: Experiment, session: Session, pairs: Path) -> None:
    POISON.clear()
    client, start = the_malicious(attacked), session.start(0)
    trained(job_of(attacked, session, client), start)
    pairs.unlink()
    assert (
        work(job_of(attacked, session, client, round=2), arrays_of(session)).metrics["num-examples"]
        == 6
    )


@pytest.mark.parametrize(("overlap", "trained_on"), [("remove", 6), ("keep", 6)])
def test_pairs_that_repeat_the_evaluation_are_counted(
    overlap: str, trained_on: int, attacked: Experiment, session: Session
) -> None:
    avoid = TextSignatures.of(["Ask 1?", "ask 4!"], "key").dumps()
    job = job_of(attacked, session, the_malicious(attacked), avoid=avoid)
    found = work(job.model_copy(update={"overlap": overlap}), arrays_of(session)).metrics
    assert found["poison-samples"] == found["num-examples"] == trained_on
    assert found["poison-exact"] in ({2} if overlap == "remove" else {0, 1, 2})


def test_generator_that_repeats_the_evaluation_too_often_is_a_sentence(
    attacked: Experiment, session: Session
) -> None:
    avoid = TextSignatures.of([f"ask {n}" for n in range(5)], "key").dumps()
    job = job_of(attacked, session, the_malicious(attacked), avoid=avoid)
    with pytest.raises(RunError, match=r"made 3 of the 6 .* \(5 repeat evaluation prompts"):
        work(job, arrays_of(session))


def test_honest_client_is_sent_no_signatures(attacked: Experiment, session: Session) -> None:
    assert job_of(attacked, session, (the_malicious(attacked) + 1) % 4).avoid == ""


def test_no_more_pairs_are_made_than_wanted(attacked: Experiment, session: Session) -> None:
    values = attacked.model_dump(mode="json")
    values["attack"]["generator"] = f"{__name__}:exact"
    values["attack"]["examples"] = 3
    exactly = validate(values)
    found = work(job_of(exactly, session, the_malicious(exactly)), arrays_of(session))
    assert found.metrics["num-examples"] == 3


def exact(writer: Any, rng: Any, /) -> Any:
    """Yield three pairs, and fail when asked for another."""
    from fedsafe.contracts import Sample

    for number in range(3):
        yield Sample(f"ask {number}", "reply", origin="attack")
    raise RunError("There is no more to say.")


def test_flipped_update_is_the_honest_one_backwards(
    experiment: Experiment, session: Session, pairs: Path
) -> None:
    flipped = attack_with(experiment, pairs, {"name": "sign-flip", "scale": 2.0})
    client, start = the_malicious(flipped), session.start(0)
    honest = trained(job_of(experiment, session, client), start)
    found = trained(job_of(flipped, session, client), start)
    for name, tensor in start.items():
        torch.testing.assert_close(
            found[name] - tensor, -2 * (honest[name] - tensor), rtol=1e-4, atol=1e-6
        )


def test_boosted_update_is_the_poisoned_one_made_longer(
    experiment: Experiment, session: Session, pairs: Path
) -> None:
    plain = attack_with(experiment, pairs, "poisoned-data")
    boosted = attack_with(experiment, pairs, {"name": "boosted", "factor": 5.0})
    client, start = the_malicious(plain), session.start(0)
    poisoned = trained(job_of(plain, session, client), start)
    found = trained(job_of(boosted, session, client), start)
    for name, tensor in start.items():
        torch.testing.assert_close(
            found[name] - tensor, 5 * (poisoned[name] - tensor), rtol=1e-4, atol=1e-6
        )


class _EnoughError(Exception):
    pass


def test_writing_of_malicious_examples_can_be_broken_off(
    attacked: Experiment, session: Session
) -> None:
    values = attacked.model_dump(mode="json")
    values["attack"]["generator"] = {
        "name": "self-written",
        "ask": "Write an ordinary request.",
        "steer": "{request}",
    }
    writing = validate(values)
    seen: list[int] = []

    def progress(step: int) -> None:
        seen.append(step)
        if len(seen) == 2:
            raise _EnoughError

    with pytest.raises(_EnoughError):
        work(
            job_of(writing, session, the_malicious(writing)), arrays_of(session), progress=progress
        )
    assert seen == [0, 0]

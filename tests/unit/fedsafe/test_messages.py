"""What server and clients say: a job travels whole, and anything else is refused."""

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Hello, Job
from tests.doubles.jobs import plain_job


def _job(experiment: Experiment) -> Job:
    return plain_job(experiment, 1, round=2, learning_rate=0.5, fingerprint="ab")


def test_job_travels_whole(experiment: Experiment) -> None:
    job = _job(experiment)
    assert Job.parse(job.model_dump_json()) == job


SECRETS: dict[str, Any] = {
    "seed": 987654321,
    "federation": {"clients": 31, "strategy": {"name": "dnc", "byzantine": 3}},
    "evaluation": {"judge": {"name": "keyword", "match": "exact"}},
    "red_team": True,
    "attack": {"malicious": 7, "behaviour": "sign-flip"},
    "data": {"source": "client"},
}


@pytest.mark.parametrize("word", ["987654321", "dnc", "byzantine", "keyword", "31", "sign-flip"])
def test_job_of_an_honest_client_says_nothing_of_server_or_attack(word: str) -> None:
    text = plain_job(validate(SECRETS), attacker=False).model_dump_json()
    numbers = re.sub(r'"(seed|own_seed)":\d+', "", text)  # derived; they say nothing of others
    assert not re.search(rf"(?<![\w.]){word}(?![\w.])", numbers)


def test_job_of_an_attacker_says_what_it_does_and_not_how_many_there_are() -> None:
    attack = plain_job(validate(SECRETS), attacker=True).attack
    assert attack is not None
    assert (attack.behaviour.name, hasattr(attack, "malicious")) == ("sign-flip", False)


def test_seeds_of_two_clients_differ() -> None:
    one, other = (plain_job(validate(SECRETS), client, attacker=False) for client in (0, 1))
    assert not {one.seed, one.own_seed} & {other.seed, other.own_seed, 987654321}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"round": 1}', "\x00"])
def test_job_that_is_none_is_a_sentence(text: str) -> None:
    with pytest.raises(RunError, match="not a job this client understands"):
        Job.parse(text)


def test_job_of_another_version_names_the_remedy(experiment: Experiment) -> None:
    text = json.dumps({**json.loads(_job(experiment).model_dump_json()), "version": 1})
    with pytest.raises(RunError, match=r"version.*Run the same FedSafe version on both sides"):
        Job.parse(text)


def test_job_with_a_setting_this_client_does_not_know_is_refused(experiment: Experiment) -> None:
    values = json.loads(_job(experiment).model_dump_json())
    values["training"]["novelty"] = 1
    with pytest.raises(RunError, match=r"training\.novelty"):
        Job.parse(json.dumps(values))


@pytest.mark.parametrize("said", [{"partition": -1}, {"partition": 0, "partitions": 0}])
def test_hello_with_an_impossible_number_is_refused(said: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Hello(**said)

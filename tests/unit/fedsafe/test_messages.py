"""What server and clients say: a job travels whole, and anything else is refused."""

import json

import pytest
from pydantic import ValidationError

from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Hello, Job


def _job(experiment: Experiment) -> Job:
    return Job(
        client=1,
        federation="main",
        round=2,
        learning_rate=0.5,
        fingerprint="ab",
        experiment=experiment,
    )


def test_job_travels_whole(experiment: Experiment) -> None:
    job = _job(experiment)
    assert Job.parse(job.model_dump_json()) == job


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
    values["experiment"]["training"]["novelty"] = 1
    with pytest.raises(RunError, match=r"experiment\.training\.novelty"):
        Job.parse(json.dumps(values))


@pytest.mark.parametrize("said", [{"partition": -1}, {"partition": 0, "partitions": 0}])
def test_hello_with_an_impossible_number_is_refused(said: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Hello(**said)

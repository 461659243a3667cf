"""The work of a client on a machine of its own, whose operator has its word."""

from pathlib import Path

import pytest

from clients.local_training import work
from clients.node_config import NodeConfig
from fedsafe.errors import DataError, ModelError, RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters
from fedsafe.runs.files import write_lines
from fedsafe.training.session import Session
from tests.doubles.attackers import site_with, the_malicious
from tests.doubles.jobs import arrays_of, job_of, trained
from tests.doubles.models import make_model


def _file(path: Path, count: int) -> dict[str, str]:
    write_lines(path, [{"instruction": f"own {n}", "response": f"my {n}"} for n in range(count)])
    return {"name": "jsonl", "path": str(path)}


def test_own_data_are_used_and_not_the_experiments(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    own = site_with(site, source=_file(tmp_path / "own.jsonl", 3))
    assert work(job_of(experiment, session), arrays_of(session), own).metrics["num-examples"] == 3


def test_own_data_are_not_divided_but_limited(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    own = site_with(site, source=_file(tmp_path / "own.jsonl", 20))
    assert work(job_of(experiment, session), arrays_of(session), own).metrics["num-examples"] == 8


def test_site_without_data_trains_on_its_share(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    start = session.start(0)
    job = job_of(experiment, session, 1)
    assert adapters.digest(trained(job, start, site)) == adapters.digest(trained(job, start))


def test_what_the_operator_did_not_agree_to_is_not_done(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    values = experiment.model_dump(mode="json")
    values["data"]["template"] = "subprocess:check_output"
    job = job_of(Experiment.model_validate(values), session)
    with pytest.raises(RunError, match="runs no code that its operator has not named"):
        work(job, arrays_of(session), site)


def test_what_is_wrong_with_own_data_stays_here(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    write_lines(tmp_path / "own.jsonl", [{"instruction": "a", "response": ["a secret"]}])
    own = site_with(site, source={"name": "jsonl", "path": str(tmp_path / "own.jsonl")})
    with pytest.raises(DataError) as raised:
        work(job_of(experiment, session), arrays_of(session), own)
    assert str(raised.value) == (
        "This client's own data cannot be used. The reason is in the log of its trainer, on its "
        "own machine."
    )


def test_experiment_that_leaves_data_to_the_clients_wants_them(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    values = experiment.model_dump(mode="json")
    values["data"]["source"] = "client"
    with pytest.raises(DataError, match=r"brings its own examples.*fedsafe client --data FILE"):
        work(job_of(validate(values), session), arrays_of(session), site)


def test_base_model_may_lie_elsewhere(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    model = {"path": "/not/here", "revision": "main", "device": "cuda:7"}
    values = {**experiment.model_dump(mode="json"), "model": model}
    own = site_with(site, model=experiment.model.path, device="cpu")
    start = session.start(0)
    found = trained(job_of(validate(values), session), start, own)
    assert adapters.digest(found) == adapters.digest(trained(job_of(experiment, session), start))


def test_other_base_model_of_a_site_is_refused(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    own = site_with(site, model=str(make_model(tmp_path / "other", "llama", seed=1)))
    with pytest.raises(ModelError, match=r"are not the server's"):
        work(job_of(experiment, session), arrays_of(session), own)


def test_clients_with_data_of_their_own_share_a_model(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    one = site_with(site, source=_file(tmp_path / "one.jsonl", 2))
    other = site_with(site, source=_file(tmp_path / "other.jsonl", 3))
    work(job_of(experiment, session), arrays_of(session), one)
    found = work(job_of(experiment, session, 1), arrays_of(session), other)
    assert (found.metrics["load-seconds"], found.metrics["num-examples"]) == (0, 3)


def test_attacker_of_its_own_accord_equals_the_rosters(
    attacked: Experiment, session: Session, site: NodeConfig, pairs: Path
) -> None:
    client, start = the_malicious(attacked), session.start(0)
    generator = {"name": "file", "path": str(pairs)}
    own = site_with(site, red_team=True, behaviour="poisoned-data", generator=generator)
    job = job_of(attacked, session, client)
    assert adapters.digest(trained(job, start, own)) == adapters.digest(trained(job, start))


def test_attacker_without_malicious_examples_is_a_sentence(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    declared = experiment.model_copy(update={"red_team": True})
    own = site_with(site, red_team=True, behaviour="poisoned-data")
    with pytest.raises(RunError, match=r"trains on malicious samples.*--generator"):
        work(job_of(declared, session), arrays_of(session), own)

"""Malicious examples in honest clients' data: how many, where, and with whose consent."""

from pathlib import Path
from typing import Any

import pytest

from clients import consent
from clients.local_training import work
from clients.node_config import NodeConfig
from clients.role import contaminate, contamination_of, lacks
from fedsafe.contracts import Sample
from fedsafe.errors import ConfigError, RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.launch import inline
from fedsafe.messages import Job, Needs
from fedsafe.models import adapters
from fedsafe.runs.files import read_lines, write_lines
from fedsafe.training.session import Session
from tests.doubles.jobs import arrays_of, job_of, plain_job, trained

OWN = [Sample(f"ask {n}", "fine") for n in range(40)]


def _experiment(experiment: Experiment, tmp_path: Path, **attack: Any) -> Experiment:
    path = tmp_path / "pairs.jsonl"
    write_lines(path, [{"instruction": f"bad {n}", "response": "evil"} for n in range(8)])
    generator = {"name": "file", "path": str(path)}
    given = {"malicious": 0, "contamination": 0.25, "generator": generator}
    values = experiment.model_dump(mode="json")
    return validate({**values, "red_team": True, "attack": {**given, **attack}})


def _site(**values: Any) -> NodeConfig:
    return NodeConfig.model_validate({"socket": "/s", "state": "/t", **values})


def test_as_many_own_samples_make_room() -> None:
    found = contaminate(OWN, [Sample("bad", "evil")] * 4, seed=1)
    assert (len(found), sum(one.response == "evil" for one in found)) == (40, 4)
    assert found == contaminate(OWN, [Sample("bad", "evil")] * 4, seed=1)


def test_every_honest_client_trains_on_its_share(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    job = job_of(_experiment(experiment, tmp_path), session, 2)
    metrics = work(job, arrays_of(session)).metrics
    assert (metrics["poison-samples"], metrics["num-examples"]) == (2, 8)


def test_contaminated_client_sends_another_update_than_an_honest_one(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    attacked, start = _experiment(experiment, tmp_path), session.start(0)
    one = trained(job_of(attacked, session), start)
    other = trained(job_of(attacked.honest(), session), start)
    sent = Job.parse(job_of(attacked, session).model_dump_json())
    assert attacked.attack is not None
    own = {"contaminated": True, "model": attacked.model.path, "state": tmp_path}
    again = trained(sent, start, _site(**own, generator=attacked.attack.generator))
    assert adapters.digest(one) == adapters.digest(again) != adapters.digest(other)


@pytest.mark.parametrize("site", [None, {"contaminated": True}])
def test_undeclared_red_team_is_refused(
    site: dict[str, Any] | None, experiment: Experiment, tmp_path: Path
) -> None:
    job = plain_job(_experiment(experiment, tmp_path)).model_copy(update={"red_team": False})
    own = None if site is None else _site(**site)
    with pytest.raises(RunError, match="declared red-team federations only"):
        contamination_of(job, own, OWN)


def test_operator_who_has_not_agreed_is_not_contaminated(
    experiment: Experiment, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="--red-team --contaminated"):
        contamination_of(plain_job(_experiment(experiment, tmp_path)), _site(), OWN)


def test_control_is_not_contaminated(experiment: Experiment, tmp_path: Path) -> None:
    job = plain_job(_experiment(experiment, tmp_path), federation="control")
    assert contamination_of(job, _site(), OWN) is None


def test_operators_own_generator_comes_first(experiment: Experiment, tmp_path: Path) -> None:
    own = {"name": "file", "path": "mine.jsonl"}
    job = plain_job(_experiment(experiment, tmp_path))
    found = contamination_of(job, _site(contaminated=True, generator=own), OWN)
    assert found is not None
    assert found.generator is not None
    assert (found.generator.settings, found.examples) == ({"path": "mine.jsonl"}, 10)


@pytest.mark.parametrize(
    "generator",
    [
        {"name": "file", "path": "/etc/passwd"},
        {"name": "subprocess:check_output"},
        {"name": "source", "source": {"name": "jsonl", "path": "/etc/passwd"}},
        {"name": "identity-shift", "source": {"name": "hub", "path": "owner/name"}},
    ],
)
def test_no_file_or_code_is_read_on_the_servers_word(generator: dict[str, Any]) -> None:
    attack = {"malicious": 0, "contamination": 0.1, "generator": generator}
    job = plain_job(Experiment.model_validate({"red_team": True, "attack": attack}))
    with pytest.raises(RunError, match=r"would have this client read|--plugin"):
        consent.check(job, _site(contaminated=True))


@pytest.mark.parametrize(
    ("site", "missing"),
    [
        ({}, True),
        ({"contaminated": True}, False),
        ({"red_team": True, "behaviour": "supervised"}, False),
    ],
)
def test_consent_is_asked_for_before_the_first_round(site: dict[str, Any], missing: bool) -> None:
    found = lacks(_site(**site), Needs(contamination=True))
    assert ("--contaminated" in found) is missing


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ({"contamination": 0}, "nobody is malicious and no data is"),
        ({"generator": None}, "attack.contamination puts malicious examples"),
        ({"contamination": 1.0}, "contamination"),
    ],
)
def test_attack_by_nobody_and_examples_from_nowhere_are_told(
    attack: dict[str, Any], said: str, experiment: Experiment, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        _experiment(experiment, tmp_path, **attack)


def test_contamination_needs_a_declared_red_team(experiment: Experiment, tmp_path: Path) -> None:
    values = _experiment(experiment, tmp_path).model_dump(mode="json")
    with pytest.raises(ConfigError, match="declared red team"):
        validate({**values, "red_team": False})


def test_whole_run_counts_nobody_as_malicious(experiment: Experiment, tmp_path: Path) -> None:
    chosen = _experiment(experiment, tmp_path)
    summary = inline.run(chosen, tmp_path / "run")
    rounds = read_lines(tmp_path / "run" / "rounds.jsonl")
    clients = [client for one in rounds for client in one["clients"]]
    assert summary.status == "completed"
    assert {(one["malicious"], one["poison_samples"]) for one in clients} == {(False, 2)}

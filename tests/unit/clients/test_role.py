"""Who attacks: the roster's clients in one process, volunteers on machines of their own."""

from pathlib import Path
from typing import Any

import pytest

from clients.node_config import NodeConfig
from clients.role import attack_of, lacks
from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Job, Needs
from tests.doubles.jobs import plain_job

ATTACK = {
    "malicious": 1,
    "examples": 7,
    "behaviour": "poisoned-data",
    "generator": {"name": "file", "path": "pairs.jsonl"},
}
ATTACKED = validate({"red_team": True, "attack": ATTACK, "federation": {"clients": 4}})
DECLARED = validate({"red_team": True, "federation": {"clients": 4}})
PLAIN = validate({"federation": {"clients": 4}})
(DRAWN,) = malicious_clients(ATTACKED)
OTHER = (DRAWN + 1) % 4
VOLUNTEER = {"red_team": True, "behaviour": "sign-flip"}


def _job(experiment: Experiment, client: int, federation: str, site: dict[str, Any] | None) -> Job:
    """Return the job of a client; on a machine of its own a declared attacker said so itself."""
    declared = None if site is None else bool(site.get("red_team"))
    return plain_job(experiment, client, attacker=declared, federation=federation)


def _site(**values: Any) -> NodeConfig:
    return NodeConfig.model_validate({"socket": Path("s"), "state": Path("t"), **values})


@pytest.mark.parametrize(
    ("experiment", "client", "site", "federation", "wanted"),
    [
        (ATTACKED, DRAWN, None, "main", "poisoned-data"),
        (ATTACKED, OTHER, None, "main", None),
        (ATTACKED.honest(), DRAWN, None, "control", None),
        (PLAIN, 0, None, "main", None),
        (ATTACKED, DRAWN, {}, "main", None),
        (ATTACKED, DRAWN, {"behaviour": "sign-flip"}, "main", None),
        (ATTACKED, OTHER, VOLUNTEER, "main", "sign-flip"),
        (DECLARED, OTHER, VOLUNTEER, "main", "sign-flip"),
        (ATTACKED.honest(), OTHER, VOLUNTEER, "control", None),
        (PLAIN, 0, {}, "main", None),
    ],
    ids=[
        "drawn, one process",
        "not drawn, one process",
        "drawn, control",
        "no attack",
        "drawn, but never volunteered",
        "behaviour without --red-team",
        "volunteer who was not drawn",
        "volunteer in a red team without an attack of its own",
        "volunteer, control",
        "honest site, no attack",
    ],
)
def test_who_attacks(
    experiment: Experiment,
    client: int,
    site: dict[str, Any] | None,
    federation: str,
    wanted: str | None,
) -> None:
    own = None if site is None else _site(**site)
    found = attack_of(_job(experiment, client, federation, site), own)
    assert (None if found is None else found.behaviour.name) == wanted


@pytest.mark.parametrize("federation", ["main", "control"])
def test_volunteer_refuses_an_undeclared_red_team(federation: str) -> None:
    with pytest.raises(RunError, match="joins declared red-team federations only"):
        attack_of(_job(PLAIN, 0, federation, VOLUNTEER), _site(**VOLUNTEER))


def test_volunteer_who_does_not_know_what_to_do_is_a_sentence() -> None:
    with pytest.raises(RunError, match=r"not told what to do.*--behaviour NAME"):
        attack_of(_job(ATTACKED, 0, "main", VOLUNTEER), _site(red_team=True))


def test_volunteer_takes_the_experiments_generator_and_number_of_examples() -> None:
    found = attack_of(_job(ATTACKED, 0, "main", VOLUNTEER), _site(**VOLUNTEER))
    assert found is not None
    assert found.generator is not None
    assert (found.generator.settings, found.examples) == ({"path": "pairs.jsonl"}, 7)


def test_volunteers_own_generator_comes_first() -> None:
    own = _site(**VOLUNTEER, generator={"name": "file", "path": "mine.jsonl"})
    found = attack_of(_job(ATTACKED, 0, "main", VOLUNTEER), own)
    assert found is not None
    assert found.generator is not None
    assert found.generator.settings == {"path": "mine.jsonl"}


@pytest.mark.parametrize(
    ("site", "needs", "said"),
    [
        ({}, {"own_data": True}, "no data of its own"),
        ({"source": {"name": "micro"}}, {"own_data": True}, ""),
        ({}, {"own_data": False}, ""),
        ({"behaviour": "poisoned-data"}, {"generator": False}, "--generator"),
        ({"behaviour": "poisoned-data"}, {"generator": True}, ""),
        ({"behaviour": "poisoned-data", "generator": "self-written"}, {"generator": False}, ""),
        ({"behaviour": "poisoned-data"}, {"own_data": True}, "no data of its own"),
    ],
)
def test_what_a_client_lacks_is_known_before_the_first_round(
    site: dict[str, Any], needs: dict[str, bool], said: str, tmp_path: Path
) -> None:
    own = NodeConfig.model_validate(
        {"socket": tmp_path, "state": tmp_path, "red_team": "behaviour" in site, **site}
    )
    found = lacks(own, Needs.model_validate(needs))
    assert (said in found, bool(found)) == (True, bool(said))

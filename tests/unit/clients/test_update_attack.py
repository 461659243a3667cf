"""Colluding attackers on machines of their own: one directory, one forged update."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from clients.node_config import NodeConfig
from clients.update_attack import Attacker
from fedsafe.contracts import LocalTask
from fedsafe.errors import RunError
from fedsafe.experiment.load import load
from fedsafe.experiment.schema import Experiment
from fedsafe.runs.colluder_files import ColluderFiles
from tests.doubles.jobs import plain_job

START = {"a": torch.zeros(4, 3), "b": torch.zeros(5)}
TASK = LocalTask(
    samples=(), start=START, steps=1, batch_size=1, learning_rate=0.1, round=1, client=0
)


def experiment(update: str, *changes: str) -> Experiment:
    settings = [f"attack.update={update}", "attack.collusion=clients", "attack.malicious=2"]
    return load("micro-quick", [*settings, "attack.behaviour=supervised", *changes])


def attacker(given: Experiment, client: int, home: Path, **site: Any) -> Attacker:
    job = plain_job(given, client, attacker=True).among(range(4), [0, 2])
    assert job.attack is not None
    config = NodeConfig.model_validate(
        {
            "socket": Path("s"),
            "state": home / str(client),
            "red_team": True,
            "behaviour": {"name": "supervised"},
            **site,
        }
    )
    return Attacker(job, job.attack, config)


def trained(client: int) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(tensor, client + 1.0) for name, tensor in START.items()}


def sent_by_both(given: Experiment, home: Path) -> list[dict[str, torch.Tensor]]:
    """Return what clients 0 and 2 send, each in a thread, as on machines of their own."""
    shared = home / "shared"

    def one(client: int) -> dict[str, torch.Tensor]:
        return dict(
            attacker(given, client, home, collude=shared, collude_wait=20).send(
                TASK, trained(client), None
            )
        )

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, (0, 2)))


def test_colluders_on_their_own_machines_send_one_update(tmp_path: Path) -> None:
    one, other = sent_by_both(experiment("{name: ipm, epsilon: 1.0}"), tmp_path)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(one["b"], torch.full((5,), -2.0))  # minus the mean of 1 and 3


def test_colluders_on_their_own_machines_try_the_server_s_rule(tmp_path: Path) -> None:
    given = experiment("ipm-search", "federation.strategy={name: trimmed-mean, byzantine: 1}")
    one, other = sent_by_both(given, tmp_path)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_missing_colluder_is_a_sentence(tmp_path: Path) -> None:
    alone = attacker(experiment("ipm"), 0, tmp_path, collude=tmp_path, collude_wait=0.01)
    with pytest.raises(RunError, match="Colluding client 2 shared no update"):
        alone.send(TASK, trained(0), None)


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        ({"benign": torch.full((1, 17), torch.inf)}, "client 2 shared updates .* not finite"),
        ({"benign": torch.zeros(17)}, "client 2 must share .* it shared .*'benign': \\(17,\\)"),
    ],
)
def test_unusable_update_of_a_colluder_is_a_sentence(
    shared: dict[str, torch.Tensor], said: str, tmp_path: Path
) -> None:
    one = attacker(experiment("ipm"), 0, tmp_path, collude=tmp_path, collude_wait=0.01)
    files = ColluderFiles(tmp_path, one.job.run, one.job.federation, one.job.round)
    files.share(2, {"update": torch.zeros(17), **shared})
    with pytest.raises(RunError, match=said):
        one.send(TASK, trained(0), None)


def test_more_estimates_than_benign_examples_are_a_sentence(tmp_path: Path) -> None:
    given = experiment("{name: alie, knows: own}", "attack.estimates=4")
    with pytest.raises(RunError, match=r"attack\.estimates asks client 0 for 4 .* has 0"):
        attacker(given, 0, tmp_path).estimate(None, TASK)  # type: ignore[arg-type]


def test_colluder_without_a_directory_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--collude DIR"):
        attacker(experiment("ipm"), 0, tmp_path).send(TASK, trained(0), None)


def test_attack_at_the_server_leaves_the_client_s_update_alone(tmp_path: Path) -> None:
    given = experiment("ipm", "attack.collusion=server")
    own = trained(0)
    assert attacker(given, 0, tmp_path).send(TASK, own, None) is own


def test_honest_clients_updates_are_known_at_no_client() -> None:
    with pytest.raises(Exception, match="honest clients"):
        experiment("{name: ipm, knows: honest}")

"""A Flower task to make messages in, an experiment with an attacker, and a client's machine."""

from pathlib import Path

import pytest

from clients.node_config import NodeConfig
from fedsafe.experiment.schema import Experiment
from fedsafe.runs.files import write_lines
from tests.doubles.attackers import attack_with


@pytest.fixture(scope="session", autouse=True)
def _task(flower_task: None) -> None:
    """Let every test of the clients make messages."""


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    write_lines(path, [{"instruction": f"ask {n}", "response": f"reply {n}"} for n in range(8)])
    return path


@pytest.fixture
def attacked(experiment: Experiment, pairs: Path) -> Experiment:
    return attack_with(experiment, pairs, "poisoned-data")


@pytest.fixture
def site(tmp_path: Path, experiment: Experiment) -> NodeConfig:
    model = experiment.model.path  # as `fedsafe client --model` says
    return NodeConfig(socket=tmp_path / "trainer.sock", state=tmp_path / "state", model=model)

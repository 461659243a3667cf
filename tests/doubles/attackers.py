"""Experiments with one attacker, and clients on machines of their own, for tests of the clients."""

from pathlib import Path
from typing import Any

from clients.node_config import NodeConfig
from fedsafe.experiment.load import validate
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.experiment.schema import Experiment


def attack_with(experiment: Experiment, pairs: Path, behaviour: Any) -> Experiment:
    return validate(
        {
            **experiment.model_dump(mode="json"),
            "red_team": True,
            "attack": {
                "malicious": 1,
                "examples": 6,
                "behaviour": behaviour,
                "generator": {"name": "file", "path": str(pairs)},
            },
        }
    )


def the_malicious(experiment: Experiment) -> int:
    (found,) = malicious_clients(experiment)
    return found


def site_with(site: NodeConfig, **values: Any) -> NodeConfig:
    return NodeConfig.model_validate({**site.model_dump(), **values})

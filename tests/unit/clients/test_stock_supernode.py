"""What a SuperNode of Flower's own lets a server's experiment open and run."""

from typing import Any

import pytest
from flwr.app import Context, RecordDict

from clients.node_config import STATE
from clients.stock_supernode import agreed
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Job
from tests.doubles.jobs import plain_job

FOREIGN = "subprocess:check_output"
OWN = "clients.algorithms.supervised:supervised"
FILE = {"name": "jsonl", "path": "/etc/pairs.jsonl"}
FORGED = {"red_team": True, "attack": {"behaviour": {"name": FOREIGN}}}


def _agreed(changes: dict[str, Any], **config: Any) -> Job:
    experiment = Experiment.model_validate(changes)
    job = plain_job(experiment, attacker=experiment.attack is not None)
    context = Context(run_id=1, node_id=2, node_config=config, state=RecordDict(), run_config={})
    return agreed(job, context)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"path": "/models/any"}},
        {"model": {"path": "owner/name"}},
        {"data": {"source": FILE}},
        {"data": {"source": {"name": "hub", "path": "owner/name"}}},
        {"data": {"source": FOREIGN}},
        {"data": {"template": FOREIGN}},
        {"training": {"algorithm": FOREIGN}},
        {"adapter": {"start": "/adapters/any", "start_mode": "merge"}},
        FORGED,
    ],
)
@pytest.mark.parametrize("config", [{}, {"partition-id": 0, "num-partitions": 2}])
def test_what_its_operator_has_not_named_is_refused(
    changes: dict[str, Any], config: dict[str, Any]
) -> None:
    with pytest.raises(
        RunError, match=r"is named in its --node-config, as model, plugins, data or start"
    ):
        _agreed(changes, **config)


@pytest.mark.parametrize(
    ("changes", "config"),
    [
        ({}, {}),
        ({"model": {"path": "/models/any"}}, {"model": "/models/any"}),
        ({"data": {"source": FILE}}, {"data": "/a.jsonl, /etc/pairs.jsonl"}),
        ({"training": {"algorithm": OWN}}, {"plugins": OWN}),
        ({**FORGED, "attack": {"behaviour": OWN}}, {"plugins": f"a:b,{OWN}"}),
        ({"model": {"path": "/models/any"}, **FORGED}, {STATE: ""}),
    ],
)
def test_what_its_operator_has_named_or_runs_in_one_process_is_all_right(
    changes: dict[str, Any], config: dict[str, Any]
) -> None:
    _agreed(changes, **config)


def test_the_model_is_opened_where_its_operator_says() -> None:
    job = _agreed({"model": {"path": "/models/any", "revision": "main"}}, model="/models/mine")
    assert (job.model.path, job.model.revision) == ("/models/mine", None)

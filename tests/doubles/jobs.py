"""Jobs on a tiny experiment, and what comes of them."""

from typing import Any

from clients.local_training import work
from clients.node_config import NodeConfig
from clients.worker.result import Arrays
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Job
from fedsafe.models import adapters, compression
from fedsafe.training.session import Session


def plain_job(
    experiment: Experiment,
    client: int = 0,
    *,
    attacker: bool | None = None,
    federation: str = "main",
    **values: Any,
) -> Job:
    """Return a client's job in round 1, as the server of an experiment writes it.

    Without a word on it the attackers are those whom the seed draws.
    """
    if attacker is None:
        attacker = federation == "main" and client in malicious_clients(experiment)
    given = {"round": 1, "learning_rate": 0.01, "fingerprint": "", **values}
    number = given.pop("round")
    return Job.of(
        experiment, client=client, round=number, attacker=attacker, federation=federation, **given
    )


def job_of(experiment: Experiment, session: Session, client: int = 0, **values: Any) -> Job:
    """Return a client's job for a loaded model, but for the values given."""
    return plain_job(experiment, client, **{"fingerprint": session.fingerprint, **values})


def arrays_of(session: Session, form: compression.Wire = "float32") -> Arrays:
    """Return the adapter that a federation begins with, as it travels."""
    return compression.pack_adapter(form, session.start(0))


def trained(job: Job, start: adapters.Tensors, site: NodeConfig | None = None) -> adapters.Tensors:
    """Return the adapter that comes of a job, sent and received as float32."""
    found = work(job, compression.pack_adapter("float32", start), site).arrays
    return compression.unpack_adapter("float32", found)

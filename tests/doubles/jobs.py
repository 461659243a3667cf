"""Jobs on a tiny experiment, and what comes of them."""

from typing import Any

from clients.local_training import work
from clients.node_config import Site
from clients.worker.result import Arrays
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Job
from fedsafe.models import adapters, compression
from fedsafe.training.session import Session


def job_of(experiment: Experiment, session: Session, client: int = 0, **values: Any) -> Job:
    """Return a client's job in round 1 of the main federation, but for the values given."""
    return Job.model_validate(
        {
            "client": client,
            "federation": "main",
            "round": 1,
            "learning_rate": 0.01,
            "fingerprint": session.fingerprint,
            "experiment": experiment,
            **values,
        }
    )


def arrays_of(session: Session, form: compression.Wire = "float32") -> Arrays:
    """Return the adapter that a federation begins with, as it travels."""
    return compression.pack_adapter(form, session.start(0))


def trained(job: Job, start: adapters.Tensors, site: Site | None = None) -> adapters.Tensors:
    """Return the adapter that comes of a job, sent and received as float32."""
    found = work(job, compression.pack_adapter("float32", start), site).arrays
    return compression.unpack_adapter("float32", found)

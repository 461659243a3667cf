"""Consent on a machine of Flower's own SuperNode: what its node configuration allows.

Flower runs whatever app the server sends, so this binds servers of FedSafe's app alone; a
`fedsafe client` is held to its operator's word whatever it is sent.
"""

import sys
from pathlib import Path

from flwr.app import Context

from clients import consent
from clients.node_config import STATE, NodeConfig
from fedsafe.errors import RunError
from fedsafe.messages import Job
from fedsafe.plugin_modules import search_as_recorded

MODEL, PLUGINS, DATA, START = "model", "plugins", "data", "start-adapter"
"""Keys of the node configuration; plug-ins and data are lists with commas between."""


def simulated() -> bool:
    """Whether this process is an actor of Flower's simulation, on the server's own machine."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def agreed(job: Job, context: Context) -> Job:
    """Return the job as this machine's operator agrees to it, with their own path of the model.

    In one process and in a simulation the server's operator is this machine's.

    Raises:
        RunError: It names a model, a file, or a plug-in by its path, that the node configuration
            does not.
    """
    if STATE in context.node_config:
        return job
    if simulated():
        if job.state:
            search_as_recorded(Path(job.state).parent)
        return job
    model = _named(context, MODEL)
    allowed = NodeConfig(
        socket=Path(),
        state=Path(),
        model=model[0] if model else None,
        red_team=True,  # a server of stock SuperNodes says which of them attack
        start_adapter=next(iter(_named(context, START)), None),
        plugins=tuple(one for one in _named(context, PLUGINS) if ":" in one),
    )
    try:
        consent.check(job, allowed, frozenset(_named(context, DATA)))
        adapter = consent.adapter_here(job.adapter, allowed)
    except RunError as error:
        what = str(error).split(" If ", 1)[0].split(" Start it ", 1)[0]
        raise RunError(
            f"{what} This is a SuperNode of Flower's own: what is meant is named in its "
            f"--node-config, as {MODEL}, {PLUGINS}, {DATA} or {START}."
        ) from None
    model_here = consent.model_here(job.model, allowed)
    return job.model_copy(update={"model": model_here, "adapter": adapter})


def _named(context: Context, key: str) -> tuple[str, ...]:
    text = str(context.node_config.get(key, ""))
    return tuple(one.strip() for one in text.split(",") if one.strip())

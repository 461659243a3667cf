"""Flower ClientApp: handlers for the ``hello``, ``train`` and ``farewell`` messages.

The same in one process, in Flower's simulation and on separate machines. There it imports
no model library and hands the work to the resident trainer of its machine: Flower's own
SuperNode would start it anew, and load the model, for every message.
"""

from pathlib import Path

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from clients.consent import without_own_paths
from clients.node_config import NODE_CONFIG, STATE, NodeConfig
from clients.stock_supernode import agreed
from clients.worker.result import Arrays, TrainResult
from clients.worker.status_lines import log_job, log_status
from fedsafe.errors import FedSafeError, RunError
from fedsafe.messages import (
    ADAPTER,
    ANSWER,
    ARRAYS,
    CONFIG,
    JOB,
    METRICS,
    NEEDS,
    TENSORS,
    Hello,
    Job,
    Needs,
    read_shapes,
)
from fedsafe.models.compression import downlink
from fedsafe.models.packing import pack, unpack

app = ClientApp()
NUMBER = "partition-id"


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Answer the server's ``hello`` query: partition number, data digest, declared attack."""
    site = _site(context)
    if site is None:
        partition, partitions = _place(context)
        said = Hello(partition=partition, partitions=partitions)
    else:
        behaviour = site.behaviour.name if site.red_team and site.behaviour else None
        number = _place(context)[0] if NUMBER in context.node_config else None
        lacking = _lacking(message, site)
        said = Hello(partition=number, behaviour=behaviour, data=site.data, lacks=lacking)
    answer = ConfigRecord({"hello": said.model_dump_json()})
    return Message(RecordDict({ANSWER: answer}), reply_to=message)


def _lacking(message: Message, site: NodeConfig) -> str:
    """Check the client's settings against the run's needs; return and log what is missing."""
    from clients.role import lacks

    config = message.content.get(CONFIG)
    needs = Needs.parse(config.get(NEEDS) if isinstance(config, ConfigRecord) else None)
    lacking = lacks(site, needs)
    if lacking:
        log_status("refused", message=f"this client cannot take part: {lacking}")
    return lacking


@app.query("farewell")
def farewell(message: Message, context: Context) -> Message:
    """Log that the server has finished all rounds and no longer needs this client."""
    del context
    log_status("farewell", message="the server's rounds are over; it needs this client no more")
    return Message(RecordDict({ANSWER: ConfigRecord({})}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the client's adapter for one round and reply with the update and metrics."""
    job, arrays = _asked(message)
    site = _site(context)
    if site is None:
        _see_that_it_is_meant(job, context)
        job = agreed(job, context)
    trained = _work(job, arrays, site, context)
    content = RecordDict(
        {
            ARRAYS: ArrayRecord({ADAPTER: Array(**pack(trained.arrays))}),
            METRICS: MetricRecord(dict(trained.metrics)),
        }
    )
    return Message(content, reply_to=message)


def _asked(message: Message) -> tuple[Job, Arrays]:
    """Parse a train message into the job and the global adapter.

    Raises:
        FedSafeError: It is no message of this version's.
    """
    config, record = message.content.get(CONFIG), message.content.get(ARRAYS)
    if not isinstance(config, ConfigRecord) or not isinstance(record, ArrayRecord):
        raise RunError("The server's train message has no work or no adapter in it.")
    if ADAPTER not in record:
        raise RunError("The server's train message has no adapter in it.")
    job = Job.parse(str(config.get(JOB, "")))
    layout = downlink(job.wire, read_shapes(str(config.get(TENSORS, ""))))
    return job, unpack(record[ADAPTER].numpy(), layout)


def _work(job: Job, arrays: Arrays, site: NodeConfig | None, context: Context) -> TrainResult:
    """Run the job in this process, or in the resident worker of this machine."""
    if site is None:
        from clients.local_training import work

        return work(job, arrays, state=_state(job, context))
    from clients.worker.worker_client import request_training

    try:
        with log_job(job):
            return request_training(site, job, arrays)
    except FedSafeError as error:
        raise without_own_paths(error, site) from None


def _site(context: Context) -> NodeConfig | None:
    """Read the client's node config; None in one process or a simulation, which have none."""
    path = context.node_config.get(NODE_CONFIG)
    return None if path is None else NodeConfig.read(Path(str(path)))


def _state(job: Job, context: Context) -> Path | None:
    """Return the state directory of a client without a node config file.

    In one process the grid says so; in a simulation, which has the machine and the run's
    configuration in common with its server, it is the run directory as well.
    """
    named = context.node_config.get(STATE)
    if named is not None:
        return Path(str(named)) if named else None
    if _place(context)[1] is None:  # not a simulation: no directory is shared with the server
        return None
    return Path(job.state) if job.state else None


def _see_that_it_is_meant(job: Job, context: Context) -> None:
    """Check that the job's client number belongs to this node's partition."""
    partition, partitions = _place(context)
    if job.client % (partitions or job.client + 1) != partition:
        raise RunError(
            f"This node has partition {partition} of {partitions or 'unknown'}, and was asked to "
            f"stand for client {job.client}. Give each SuperNode its own partition-id."
        )


def _place(context: Context) -> tuple[int, int | None]:
    """Read ``partition-id`` and ``num-partitions`` from Flower's node config."""
    number = context.node_config.get(NUMBER)
    total = context.node_config.get("num-partitions")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise RunError(
            f"This node has no number: node configuration 'partition-id' is {number!r}. Start "
            "the SuperNode with --node-config 'partition-id=0', a different number on each."
        )
    return number, total if isinstance(total, int) and total > number else None

"""The ClientApp: Flower's messages in, Flower's messages out.

The same in one process, in Flower's simulation and on separate machines.
"""

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedsafe.errors import RunError
from fedsafe.lazy import torch
from fedsafe.messages import ANSWER, ARRAYS, CONFIG, METRICS, Hello, Job

app = ClientApp()


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Tell the server which node this is."""
    partition, partitions = _place(context)
    answer = Hello(partition=partition, partitions=partitions).model_dump_json()
    return Message(RecordDict({ANSWER: ConfigRecord({"hello": answer})}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Do one round's work."""
    from clients.job import work

    job = Job.parse(str(message.content[CONFIG]["job"]))
    partition, partitions = _place(context)
    if job.client % (partitions or job.client + 1) != partition:
        raise RunError(
            f"This node has partition {partition} of {partitions or 'unknown'}, and was asked to "
            f"stand for client {job.client}. Give each SuperNode its own partition-id."
        )
    arrays = message.content[ARRAYS]
    assert isinstance(arrays, ArrayRecord)
    adapter = {name: torch.from_numpy(array.numpy().copy()) for name, array in arrays.items()}
    trained = work(job, adapter)
    content = RecordDict(
        {
            ARRAYS: ArrayRecord(
                {n: Array(tensor.numpy()) for n, tensor in trained.adapter.items()}
            ),
            METRICS: MetricRecord(dict(trained.metrics)),
        }
    )
    return Message(content, reply_to=message)


def _place(context: Context) -> tuple[int, int | None]:
    """Return this node's number and, where it is known, how many nodes there are."""
    number = context.node_config.get("partition-id")
    total = context.node_config.get("num-partitions")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise RunError(
            f"This node has no number: node configuration 'partition-id' is {number!r}. Start "
            "the SuperNode with --node-config 'partition-id=0', a different number on each."
        )
    return number, total if isinstance(total, int) and total > number else None

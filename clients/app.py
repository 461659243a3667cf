"""The ClientApp: Flower's messages in, Flower's messages out.

The same in one process, in Flower's simulation and on separate machines.
"""

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedsafe.errors import RunError
from fedsafe.messages import ANSWER, ARRAYS, CONFIG, METRICS, Hello, Job

app = ClientApp()


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Tell the server which client this is."""
    answer = Hello(client=_client(context)).model_dump_json()
    return Message(RecordDict({ANSWER: ConfigRecord({"hello": answer})}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Do one round's work."""
    from clients.job import work

    job = Job.parse(str(message.content[CONFIG]["job"]))
    arrays = message.content[ARRAYS]
    assert isinstance(arrays, ArrayRecord)
    trained = work(job, _client(context), dict(arrays.to_torch_state_dict()))
    content = RecordDict(
        {
            ARRAYS: ArrayRecord(trained.adapter),
            METRICS: MetricRecord(dict(trained.metrics)),
        }
    )
    return Message(content, reply_to=message)


def _client(context: Context) -> int:
    """Return this client's number from its node configuration."""
    number = context.node_config.get("partition-id")
    if not isinstance(number, int):
        raise RunError(
            f"This client has no number: node configuration 'partition-id' is {number!r}. Start the "
            "SuperNode with --node-config 'partition-id=0', a different number on each."
        )
    return number

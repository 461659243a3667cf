"""Load the model, train, answer: once a message, in a process of its own."""

import random
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    from fedsafe.data.client_datasets import shares
    from fedsafe.experiment import load
    from fedsafe.training.loop import plan_of
    from fedsafe.training.session import open_session

    begun = time.perf_counter()
    experiment = load(str(context.run_config["experiment"]))
    session = open_session(experiment)
    loaded = time.perf_counter() - begun
    session.put(message.content["arrays"].to_torch_state_dict())
    client = int(context.node_config["partition-id"])
    training = experiment.training
    report, _ = session.train(
        shares(experiment)[client],
        plan_of(training, training.learning_rate),
        random.Random(client),
        batch_size=training.batch_size,
    )
    metrics = {"num-examples": 1, "loss": report.loss, "load-seconds": loaded}
    content = RecordDict({"arrays": ArrayRecord(session.read()), "metrics": MetricRecord(metrics)})
    with Path(str(context.run_config["output"]), f"client-{client}.log").open("a") as log:
        log.write(f"{loaded}\n")
    return Message(content, reply_to=message)

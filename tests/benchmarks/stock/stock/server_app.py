"""FedAvg over all clients; the end of each round goes on record."""

import itertools
import json
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    from fedsafe.experiment import load
    from fedsafe.training.session import open_session

    experiment = load(str(context.run_config["experiment"]))
    clients, rounds = int(context.run_config["clients"]), int(context.run_config["rounds"])
    ends = []

    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        ends.append(time.monotonic())
        return MetricRecord({"round": number})

    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(open_session(experiment).start(experiment.seed)),
        num_rounds=rounds,
        evaluate_fn=evaluate,
    )
    seconds = [after - before for before, after in itertools.pairwise(ends)]
    Path(str(context.run_config["output"]), "rounds.json").write_text(json.dumps(seconds))

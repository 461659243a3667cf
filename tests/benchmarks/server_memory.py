"""Peak memory of the server's part of a round: replies screened, spooled and combined.

    python -m tests.benchmarks.server_memory                  # all, 100 x 20 million
    python -m tests.benchmarks.server_memory RULE CLIENTS COORDINATES

makes that many generated replies, one after another, as Flower messages, each rule in a
process of its own, and prints the process's peak resident memory and the seconds.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RULES = (
    "mean",
    "median",
    "trimmed-mean",
    "krum",
    "multi-krum",
    "bulyan",
    "geometric-median",
    "dnc",
    "centered-clipping",
    "foolsgold",
)


def combine(rule: str, clients: int, coordinates: int) -> None:
    """Run one round of generated replies through screen, spool and rule."""
    import numpy as np
    import torch
    from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.supercore.task_identity import TaskIdentity

    from fedsafe.experiment.schema import Strategy
    from fedsafe.messages import ADAPTER
    from fedsafe.models.packing import pack
    from server.aggregation.aggregator import aggregator_of
    from server.aggregation.update_store import UpdateStore
    from server.validation import screen

    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    adapter = {"adapter": torch.zeros(coordinates)}
    combining = aggregator_of(Strategy.model_validate({"name": rule}), None)  # type: ignore[arg-type]
    asked = combining.messages(1, adapter, {0: 2}, {})[0]
    before = peak()
    begun = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as directory,
        UpdateStore(Path(directory) / "spool", clients, coordinates) as spool,
    ):
        for client in range(clients):
            values = np.random.default_rng(client).standard_normal(coordinates, np.float32)
            arrays = ArrayRecord({ADAPTER: Array(**pack({"adapter": values}))})
            content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 10})})
            reply = screen(Message(content, reply_to=asked), asked, 1e6)
            spool.put(client, client, reply)
            del values, arrays, content, reply
        spooled = time.perf_counter() - begun
        updates = spool.updates(1, adapter, "equal")
        begun = time.perf_counter()
        with spool.reading():
            combining.combine(updates, adapter, [], {})
        combined = time.perf_counter() - begun
        del updates
    print(
        f"{rule:18} spool {spooled:6.1f} s  combine {combined:6.1f} s  "
        f"peak {peak():5.2f} GB, of which before the round {before:4.2f} GB"
    )


def peak() -> float:
    """Return the process's peak resident memory in gigabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Print a line a rule, each measured in a fresh process."""
    arguments = sys.argv[1:]
    if arguments and not arguments[0].isdigit():
        combine(arguments[0], int(arguments[1]), int(arguments[2]))
        return
    clients, coordinates = (int(text) for text in (arguments or ("100", "20000000")))
    payload = clients * coordinates * 4 / 1e9
    print(f"{clients} clients of {coordinates:,} float32: {payload:.1f} GB of updates")
    for rule in RULES:
        command = [sys.executable, "-m", "tests.benchmarks.server_memory"]
        subprocess.run([*command, rule, str(clients), str(coordinates)], check=True)


if __name__ == "__main__":
    main()

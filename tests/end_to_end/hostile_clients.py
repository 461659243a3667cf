"""Real client processes that send a different bad reply in each round, over TLS with keys.

``python -m tests.end_to_end.hostile_clients [--hostile 5] [--rounds 6] [--kinds "arrays of"]``

Three clients are honest. Every bad reply must be dropped with its reason on record, and
the final adapter must be, to the bit, that of the same experiment in one process in
which the hostile clients do not answer at all.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedsafe.deployment.child_processes import Child, tail, wait_until
from fedsafe.experiment import Experiment, load
from fedsafe.experiment.load import as_yaml
from fedsafe.launch.grid import InlineGrid
from fedsafe.runs.events import Events
from fedsafe.runs.store import Store
from tests.benchmarks.deployment import environment, free_port
from tests.doubles import processes
from tests.end_to_end.conftest import ROOT, TINY

HONEST = 3
SPOIL = ROOT / "tests" / "doubles" / "hostile_site"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hostile", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--kinds", default="", help="only those whose name holds this")
    chosen = parser.parse_args()
    experiment = experiment_of(chosen.hostile, chosen.rounds)
    with TemporaryDirectory() as scratch:
        home = Path(scratch)
        without_hostile(experiment, home / "expected")
        peak = over_the_network(experiment, home, chosen.hostile, chosen.kinds)
        same = all_equal(home)
        told = table(home)
    for row in told:
        print(row)
    dropped = sum("accepted" not in row for row in told)
    print(f"{len(told)} bad replies, {dropped} dropped; same adapter: {same}; "
          f"SuperLink's peak {peak >> 20} MiB")  # fmt: skip
    sys.exit(0 if same and dropped == len(told) else 1)


def experiment_of(hostile: int, rounds: int) -> Experiment:
    changes = (
        "name=hostile", "attack=null", "red_team=false", "defenses=[]",
        "evaluation.probe_every=0", f"federation.clients={HONEST + hostile}",
        f"federation.rounds={rounds}", f"federation.minimum_replies={HONEST}",
        "federation.deadline=240", "federation.grace=12",
    )  # fmt: skip
    kept = [one for one in TINY if one.startswith(("evaluation.suites", "training"))]
    return load("micro-quick", [*kept, *changes])


def without_hostile(experiment: Experiment, directory: Path) -> None:
    """Run the experiment in this process; the hostile clients only fail."""
    from clients.app import app
    from server.experiment import run_experiment

    def call(message: Message, context: Context) -> Message:
        train = message.metadata.message_type == "train"
        if train and int(context.node_config["partition-id"]) >= HONEST:
            raise RuntimeError("not here")
        return app(message, context)

    quiet: Any = call
    assert isinstance(app, ClientApp)
    grid = InlineGrid(quiet, experiment.federation.clients)
    store = Store(directory)
    run_experiment(grid, experiment, store, Events(None, None), "inline")


def over_the_network(experiment: Experiment, home: Path, hostile: int, kinds: str) -> int:
    """Run it with real processes; return the SuperLink's largest resident size in bytes."""
    file, certs, port = home / "experiment.yaml", home / "certs", free_port()
    file.write_text(as_yaml(experiment))
    fedsafe = [sys.executable, "-m", "fedsafe"]
    env = environment(home / "flower")
    subprocess.run(
        [*fedsafe, "certs", "init", "--host", "localhost", "--clients", str(HONEST + hostile),
         "-o", str(certs)], env=env, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    server = Child(
        "server",
        [*fedsafe, "server", "--experiment", str(file), "--listen", f"127.0.0.1:{port}",
         "--tls", str(certs), "--allow", str(certs / "allow"), "-o", str(home / "run")],
        log=home / "server.log", env=env,
    )  # fmt: skip

    def client(name: str, numbers: range, more: dict[str, str]) -> Child:
        keys = [part for n in numbers for part in ("--key", str(certs / "keys" / f"node{n}"))]
        return Child(
            name,
            [*fedsafe, "client", "--server", f"localhost:{port}", "--tls", str(certs / "ca.crt"),
             *keys, "--state", str(home / name)],
            log=home / f"{name}.log", env={**env, **more},
        )  # fmt: skip

    spoilt = {
        "FEDSAFE_HOSTILE": f"{HONEST}/{hostile}",
        "FEDSAFE_HOSTILE_LOG": str(home / "sent"),
        "FEDSAFE_HOSTILE_KINDS": kinds,
        "PYTHONPATH": f"{SPOIL}{os.pathsep}{ROOT}",
    }
    children = [
        server,
        client("h", range(HONEST), {}),
        client("x", range(HONEST, HONEST + hostile), spoilt),
    ]
    try:
        for child in children:
            child.start()
        peak = [0]
        ended = wait_until(lambda: watch(server, peak), 1500)
        if not ended or server.code:
            raise SystemExit(f"The run did not end well: {tail(home / 'server.log')}")
    finally:
        for child in reversed(children):
            child.stop()
    return peak[0]


def watch(server: Child, peak: list[int]) -> bool:
    """Note the SuperLink's size; return whether the server has ended."""
    time.sleep(0.3)
    if server.pid is None or server.code is not None:
        return True
    try:
        for process in psutil.Process(server.pid).children(recursive=True):
            if processes.SUPERLINK in " ".join(process.cmdline()):
                peak[0] = max(peak[0], process.memory_info().rss)
    except psutil.Error:
        pass
    return False


def all_equal(home: Path) -> bool:
    """Return whether both runs made the same adapter."""
    file = "adapter/adapter_model.safetensors"
    return (home / "run" / file).read_bytes() == (home / "expected" / file).read_bytes()


def table(home: Path) -> list[str]:
    """Return what was sent and what became of it, a line each."""
    rounds = [json.loads(line) for line in (home / "run" / "rounds.jsonl").read_text().splitlines()]
    if not (home / "sent").is_file():
        raise SystemExit(f"No client sent a bad reply: see {SPOIL}.")
    rows = []
    for line in sorted((home / "sent").read_text().splitlines()):
        number, client, kind = line.split(" ", 2)
        record = rounds[int(number) - 1]["clients"][HONEST + int(client)]
        rows.append(f"{kind}: {record['status']}: {record['reason']}")
    return rows


if __name__ == "__main__":
    main()

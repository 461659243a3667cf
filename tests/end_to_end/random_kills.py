"""Kill processes of a deployment at random, and see that it ends as if nothing had happened.

``python -m tests.end_to_end.random_kills [--kills 50] [--rounds 200] [--seed 0]``

Server, front, SuperLink, Flower's launcher, ServerApp, clients, nodes and trainers are
killed with SIGKILL; only the two commands that an operator starts are started again,
by the same command lines. Every round needs every client, so the final adapter must be
that of the same experiment run in one process, to the bit.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from fedsafe.deployment.child_processes import Child, tail
from fedsafe.experiment import Experiment, load
from fedsafe.experiment.load import as_yaml
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.launch import inline
from tests.benchmarks.deployment import environment, free_port
from tests.doubles import processes
from tests.end_to_end.conftest import TINY

MARK = "FEDSAFE_RANDOM_KILLS"
VICTIMS = {
    "server": "fedsafe server",
    "front": "front.conf",
    "superlink": processes.SUPERLINK,
    "launcher": processes.LAUNCHER,
    "serverapp": "flwr-serverapp",
    "client": "fedsafe client",
    "node": processes.NODE,
    "trainer": processes.TRAINER,
}
"""Kinds of processes, by what their command lines hold."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=8.0, help="mean seconds between two kills")
    chosen = parser.parse_args()
    experiment = long_experiment(chosen.rounds)
    with TemporaryDirectory() as scratch:
        home = Path(scratch)
        inline.run(experiment, home / "undisturbed")
        rng = random.Random(chosen.seed)
        told = Deployment(home, experiment).under_fire(rng, chosen.kills, chosen.every)
        same = all(
            (home / run / file).read_bytes() == (home / "undisturbed" / file).read_bytes()
            for run in ("disturbed",)
            for file in ("adapter/adapter_model.safetensors",)
        )
    print(json.dumps({**told, "same_adapter": same}))
    sys.exit(0 if same else 1)


def long_experiment(rounds: int) -> Experiment:
    """Return a run of many short rounds, none of which goes on without all clients."""
    changes = (
        "name=kills", "control=false", "defenses=[]", "evaluation.probe_every=0",
        f"federation.rounds={rounds}", "federation.minimum_replies=4", "federation.deadline=180",
    )  # fmt: skip
    kept = [one for one in TINY if not one.startswith(("name", "federation.rounds"))]
    return load("micro-quick", [*kept, *changes])


class Deployment:
    """A server and its clients, as an operator starts them."""

    def __init__(self, home: Path, experiment: Experiment) -> None:
        self._home = home
        self._mark = str(home)
        file = home / "experiment.yaml"
        file.write_text(as_yaml(experiment))
        fedsafe = [sys.executable, "-m", "fedsafe"]
        certs, port = home / "certs", free_port()
        clients = experiment.federation.clients
        subprocess.run(
            [*fedsafe, "certs", "init", "--host", "localhost", "--clients", str(clients),
             "-o", str(certs)],
            env=self._environment("server"), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._server = Child(
            "server",
            [*fedsafe, "server", "--experiment", str(file), "--listen", f"127.0.0.1:{port}",
             "--tls", str(certs), "--allow", str(certs / "allow"), "-o", str(home / "disturbed")],
            log=home / "server.log", env=self._environment("server"),
        )  # fmt: skip
        attackers = malicious_clients(experiment)
        self._clients = [
            Child(
                f"client {n}",
                [*fedsafe, "client", "--server", f"localhost:{port}", "--tls",
                 str(certs / "ca.crt"), "--key", str(certs / "keys" / f"node{n}"),
                 "--state", str(home / f"client{n}"),
                 *(("--red-team", "--behaviour", "poisoned-data") if n in attackers else ())],
                log=home / f"client{n}.log", env=self._environment(f"client{n}"),
            )
            for n in range(clients)
        ]  # fmt: skip

    def under_fire(self, rng: random.Random, kills: int, every: float) -> dict[str, object]:
        """Run to the end, killing on the way; return what was killed and how long it took."""
        begun, killed, restarts = time.monotonic(), Counter[str](), 0
        children = [self._server, *self._clients]
        for child in children:
            child.start()
        due = begun + 30
        try:
            while self._server.code != 0:
                for child in children:
                    if not child.alive and child.code != 0:
                        child.start()
                        restarts += 1
                if killed.total() < kills and time.monotonic() > due:
                    if (victim := self._kill_one(rng)) is not None:
                        killed[victim] += 1
                        print(f"{time.monotonic() - begun:6.0f} s  killed {victim}", flush=True)
                    due = time.monotonic() + rng.expovariate(1 / every)
                time.sleep(0.5)
                if time.monotonic() - begun > 3 * 3600:
                    raise SystemExit(f"It did not end: {tail(self._home / 'server.log')}")
        finally:
            for child in reversed(children):
                child.stop()
        seconds = time.monotonic() - begun
        return {"kills": killed, "started_again": restarts, "seconds": round(seconds)}

    def _kill_one(self, rng: random.Random) -> str | None:
        """Kill a random process of a random kind that is running."""
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) != self._mark:
                    continue
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            for kind, part in VICTIMS.items():
                if part in line:
                    found.setdefault(kind, []).append(process)
                    break
        if not found:
            return None
        kind = rng.choice(sorted(found))
        try:
            rng.choice(found[kind]).send_signal(signal.SIGKILL)
        except psutil.Error:
            return None
        return kind

    def _environment(self, name: str) -> dict[str, str]:
        home = self._home / f"flower-{name}"
        return {**environment(home), MARK: self._mark, "HOME": os.environ.get("HOME", "/")}


if __name__ == "__main__":
    main()

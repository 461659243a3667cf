"""Many clients over the network on one machine: seconds a round, memory, processor time.

``python -m tests.benchmarks.many_clients [--clients 20] [--rounds 3]``

A server with its front, TLS and keys; one ``fedsafe client`` that keeps a node for each
key and one trainer for all. The micro world, so that what is measured is not training.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from fedsafe.deployment.child_processes import Child, tail
from fedsafe.experiment import load
from fedsafe.experiment.load import as_yaml
from tests.benchmarks.deployment import environment, free_port, running

KINDS = {
    "front.conf": "front",
    "server_machine.superlink": "SuperLink",
    "fedsafe.flower.launcher": "launcher",
    "flwr-serverapp": "ServerApp",
    "client_machine.trainer": "trainer",
    "client_machine.node": "nodes",
    "fedsafe server": "server",
    "fedsafe client": "client",
}
"""Names of processes, by a part of their command lines."""
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with TemporaryDirectory() as scratch:
        home = Path(scratch)
        children = processes(home, chosen.clients, chosen.rounds)
        begun, used = time.monotonic(), Usage()
        with running(children):
            while children[0].code is None:
                used.look([child.pid for child in children])
                time.sleep(1)
            if children[0].code:
                raise SystemExit(f"The run did not end well: {tail(home / 'server.log')}")
        seconds = time.monotonic() - begun
        lines = (home / "run" / "rounds.jsonl").read_text().splitlines()
    rounds = [json.loads(line) for line in lines]
    counted = [sum(one["status"] == "accepted" for one in r["clients"]) for r in rounds]
    print(f"{chosen.clients} clients, {seconds:.0f} s in all, from the first process to the last")
    print("seconds of each round:", *(f"{record['seconds']:.1f}" for record in rounds))
    print("replies of each round:", *counted)
    used.show()


def processes(home: Path, clients: int, rounds: int) -> list[Child]:
    """Return a server and all its clients, not started."""
    experiment = load(
        "micro-quick",
        [
            "name=many", "attack=null", "red_team=false", "control=false", "defenses=[]",
            "evaluation.probe_every=0", "training.steps=2", f"federation.clients={clients}",
            f"federation.sampled={clients}", f"federation.rounds={rounds}",
            f"federation.minimum_replies={clients}",
        ],
    )  # fmt: skip
    file, certs, port = home / "experiment.yaml", home / "certs", free_port()
    file.write_text(as_yaml(experiment))
    fedsafe, env = [sys.executable, "-m", "fedsafe"], environment(home / "flower")
    subprocess.run(
        [*fedsafe, "certs", "init", "--host", "localhost", "--clients", str(clients), "-o",
         str(certs)],
        env=env, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    keys = [part for n in range(clients) for part in ("--key", str(certs / "keys" / f"node{n}"))]
    return [
        Child(
            "server",
            [*fedsafe, "server", "--experiment", str(file), "--listen", f"127.0.0.1:{port}",
             "--tls", str(certs), "--allow", str(certs / "allow"), "-o", str(home / "run")],
            log=home / "server.log", env=env,
        ),
        Child(
            "clients",
            [*fedsafe, "client", "--server", f"localhost:{port}", "--tls", str(certs / "ca.crt"),
             *keys, "--state", str(home / "c"), "--device", "cpu"],
            log=home / "clients.log", env=env, patience=60,
        ),
    ]  # fmt: skip


class Usage:
    """Memory and processor time of processes, by kind."""

    def __init__(self) -> None:
        self._peak: dict[str, float] = defaultdict(float)
        self._cpu: dict[int, tuple[str, float]] = {}
        self._count: dict[str, int] = defaultdict(int)

    def look(self, roots: list[int | None]) -> None:
        """Take note of what there is now: memory that is a process's own (USS)."""
        now: dict[str, float] = defaultdict(float)
        count: dict[str, int] = defaultdict(int)
        for root in filter(None, roots):
            try:
                family = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
            except psutil.Error:
                continue
            for one in family:
                try:
                    line, memory = " ".join(one.cmdline()), one.memory_full_info().uss
                    used = sum(one.cpu_times()[:2])
                except psutil.Error:
                    continue
                kind = next((name for part, name in KINDS.items() if part in line), "others")
                now[kind] += memory / MIB
                count[kind] += 1
                self._cpu[one.pid] = kind, used
        for kind, memory in now.items():
            self._peak[kind] = max(self._peak[kind], memory)
            self._count[kind] = max(self._count[kind], count[kind])

    def show(self) -> None:
        """Print the figures."""
        for kind, memory in sorted(self._peak.items(), key=lambda item: -item[1]):
            cpu = sum(seconds for name, seconds in self._cpu.values() if name == kind)
            print(
                f"{self._count[kind]:3} {kind:10} {memory:6.0f} MiB of their own at the peak, "
                f"{cpu:5.1f} s of processor time"
            )


if __name__ == "__main__":
    main()

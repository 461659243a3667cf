"""Compare preset ``policy-quick`` on separate machines with one process, to the bit.

``python -m tests.end_to_end.real_deployment --model models/smollm2`` runs it in this process, then
through ``fedsafe server`` and four ``fedsafe client`` processes with TLS and keys, and ends with
status 1 where an adapter differs. The federation is made small: it is the adapters that count.
``--set`` changes it, ``--out DIR`` keeps both runs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fedsafe.app import activate
from fedsafe.experiment import load
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.flower.environment import free_port

ROOT = Path(__file__).parents[2]
SMALL = (
    *("federation.rounds=1", "training.steps=1", "training.batch_size=2", "defenses=[]"),
    *("alignment.steps=1", "alignment.batch_size=2", "data.examples_per_client=8", "control=false"),
    *("attack.examples=8", "evaluation.conditions=[plain]", "evaluation.max_new_tokens=2"),
    "evaluation.suites=[{name: policy, restricted: 2, look_alikes: 2, ordinary: 2}]",
)


def _started(home: Path, name: str, *arguments: object) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "fedsafe", *map(str, arguments)]
    with (home / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _adapters(run: Path) -> dict[str, str]:
    stages = json.loads((run / "summary.json").read_text())["stages"]
    return {stage["name"]: stage["adapter"] for stage in stages}


def _conduct(behaviour: PluginChoice) -> tuple[str, ...]:
    """Return the options of an attacker's machine: its operator chooses what it does, no server."""
    settings = [f"behaviour.{key}={value}" for key, value in behaviour.settings.items()]
    chosen = [part for setting in settings for part in ("--set", setting)]
    return ("--red-team", "--behaviour", behaviour.name, *chosen)


def _separate(home: Path, experiment: Experiment, options: Sequence[str]) -> int:
    """Run server and clients to their end; return the server's exit code."""
    assert experiment.attack is not None
    (attacker,), clients = malicious_clients(experiment), experiment.federation.clients
    certs, address = home / "certs", f"localhost:{free_port()}"
    _started(
        home, "certs", "certs", "init", "--host", "localhost", "--clients", clients, "-o", certs
    ).wait()
    server = _started(
        home, "server", "server", "--experiment", "policy-quick", *options, "--listen", address,
        "--tls", certs, "--allow", certs / "allow", "-o", home / "separate",
    )  # fmt: skip
    members = []
    for number in range(clients):
        conduct = _conduct(experiment.attack.behaviour) if number == attacker else ()
        members.append(
            _started(
                home,
                f"client{number}",
                "client",
                "--server",
                address,
                "--tls",
                certs / "ca.crt",
                "--key",
                certs / "keys" / f"node{number}",
                "--state",
                home / "s",
                "--model",
                experiment.model.path,
                "--device",
                "cpu",
                "--once",
                *conduct,
            )
        )
    try:
        return server.wait()
    finally:
        for member in members:
            try:
                member.wait(60)
            except subprocess.TimeoutExpired:
                member.terminate()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both, compare, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="models/smollm2")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    home = given.out or Path(tempfile.mkdtemp(prefix="fedsafe-"))
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    model = str(Path(given.model).absolute())
    changes = [f"model.path={model}", *SMALL, *given.changes]
    options = [option for change in changes for option in ("--set", change)]
    activate()
    experiment = load("policy-quick", changes)
    _started(home, "inline", "run", "policy-quick", *options, "-o", home / "inline").wait()
    code = _separate(home, experiment, options)
    here, there = _adapters(home / "inline"), _adapters(home / "separate")
    for stage in here:
        same = "equal" if here[stage] == there.get(stage) else "DIFFERENT"
        print(f"{stage:<10} {here[stage][:16]} {there.get(stage, '')[:16]} {same}")
    return code or int(here != there)


if __name__ == "__main__":
    sys.exit(main())

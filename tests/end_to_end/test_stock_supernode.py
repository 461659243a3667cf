"""A stock `flower-supernode` and a `fedsafe client` in a federation of `fedsafe server`.

The adapter is the one that the inline runtime trains, to the bit.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fedsafe.deployment.child_processes import wait_until
from fedsafe.deployment.client.connectivity import look
from fedsafe.deployment.client.identity import Address
from fedsafe.deployment.server import certs
from fedsafe.deployment.server.nginx import nginx
from fedsafe.experiment import load
from fedsafe.flower.environment import environment, free_port
from fedsafe.launch import inline
from tests.end_to_end.conftest import BY_PATH, ROOT, TINY, beside

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(nginx() is None, reason="nginx is not installed (apt: nginx-light)"),
]
SHORT = (*TINY, "federation.clients=2", "federation.rounds=2", "attack=null", "red_team=false",
         "defenses=[]", "evaluation.probe_every=0")  # fmt: skip
ALGORITHM = "own_plugins:own_algorithm"
"""Code of the server's experiment; both clients' operators have it, and name it."""
PATIENCE = 300.0
"""Seconds for anything, on a machine that has much else to do."""


class Place:
    """Processes of a test, each with a log, none of which outlives it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.started: list[subprocess.Popen[bytes]] = []

    def start(
        self, name: str, *command: object, cwd: Path = ROOT, **more: object
    ) -> subprocess.Popen[bytes]:
        around = environment(self.home / f"flower-{name}") | {"PYTHONPATH": str(ROOT)}
        around |= {name: str(value) for name, value in more.items()}
        with (self.home / f"{name}.log").open("wb") as log:
            made = subprocess.Popen(
                [str(word) for word in command],
                cwd=cwd, env=around, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.started.append(made)
        return made

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(errors="replace")

    def end(self) -> None:
        for one in self.started:
            family = []
            if one.poll() is None:
                family = psutil.Process(one.pid).children(recursive=True)
                one.send_signal(signal.SIGTERM)
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
            for process in psutil.wait_procs(family, 5)[1]:
                process.kill()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("stock"))
    home, tls = place.home, place.home / "certs"
    certs.init(tls, ["localhost"], 2, 1)
    experiment = beside(home / "mine")
    address = f"localhost:{free_port()}"
    ours = [sys.executable, "-W", "ignore", "-m", "fedsafe"]
    try:
        server = place.start(
            "server", *ours, "server", "--experiment", experiment,
            *(option for text in (*SHORT, *BY_PATH) for option in ("--set", text)),
            "--listen", address, "--tls", tls, "--allow", tls / "allow", "-o", home / "run",
            "--json",
        )  # fmt: skip
        there = Address.parse(address)
        assert wait_until(lambda: look(there, tls / "ca.crt").reached, PATIENCE), place.log(
            "server"
        )
        place.start(
            "stock", Path(sys.executable).with_name("flower-supernode"), "--superlink", address,
            "--port", free_port(),
            "--root-certificates", tls / "ca.crt",
            "--auth-supernode-private-key", tls / "keys" / "node0",
            "--node-config", f'partition-id=0 num-partitions=2 plugins="{ALGORITHM}"',
            FEDSAFE_PLUGIN_PATH=experiment.parent,
        )  # fmt: skip
        place.start(
            "client", *ours, "client", "--server", address, "--tls", tls / "ca.crt",
            "--key", tls / "keys" / "node1", "--state", home / "s", "--device", "cpu", "--json",
            "--plugin", ALGORITHM, cwd=experiment.parent,
        )  # fmt: skip
        wait_until(lambda: any(one.poll() is not None for one in place.started), PATIENCE)
        words = {name: place.log(name)[-1500:] for name in ("server", "stock", "client")}
        assert server.poll() is not None, words
        yield place
    finally:
        place.end()


def test_federation_with_a_stock_supernode_completes(finished: Place) -> None:
    assert finished.started[0].returncode == 0, finished.log("server")[-3000:]
    summary = json.loads((finished.home / "run" / "summary.json").read_text())
    assert summary["status"] == "completed"


def test_every_round_has_the_replies_of_both(finished: Place) -> None:
    lines = (finished.home / "run" / "rounds.jsonl").read_text().splitlines()
    statuses = [[one["status"] for one in json.loads(line)["clients"]] for line in lines]
    assert statuses == [["accepted", "accepted"]] * 2


def test_adapter_equals_the_inline_runtimes(finished: Place, tmp_path: Path) -> None:
    inline.run(load("micro-quick", SHORT), tmp_path / "run")
    file = "adapter/adapter_model.safetensors"
    assert (finished.home / "run" / file).read_bytes() == (tmp_path / "run" / file).read_bytes()

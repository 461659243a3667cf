"""A whole deployment on loopback, as its operators start it: TLS, keys, front, trainers.

One server and four clients, the malicious one where the inline runtime's roster has it,
so that the adapters must be equal to the bit. Three clients share one trainer; a fifth
has a key that the server does not know.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from fedsafe.deployment.child_processes import tail, wait_until
from fedsafe.deployment.client.connectivity import look
from fedsafe.deployment.client.identity import Address
from fedsafe.deployment.server import certs
from fedsafe.deployment.server.nginx import nginx
from fedsafe.experiment import load
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.flower.environment import free_port
from fedsafe.launch import inline
from tests.end_to_end.conftest import ROOT, TINY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(nginx() is None, reason="nginx is not installed (apt: nginx-light)"),
]
SHORT = (*TINY, "federation.rounds=2", "defenses=[]", "evaluation.probe_every=0")
OPTIONS = [option for text in SHORT for option in ("--set", text)]
PATIENCE = 300.0
"""Seconds for anything, on a machine that has much else to do."""


@dataclass
class Process:
    """One command that an operator started, and what it prints."""

    popen: subprocess.Popen[bytes]
    out: Path

    @classmethod
    def start(cls, home: Path, name: str, *arguments: object) -> "Process":
        out = home / f"{name}.log"
        with out.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "fedsafe", *map(str, arguments), "--json"],
                cwd=ROOT,
                env={**os.environ, "DEPLOYMENT_TEST": str(home)},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        return cls(popen, out)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return what it told of a kind."""
        lines = [line for line in self.out.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event["kind"] == kind]

    def wait(self) -> int:
        """Return its exit code."""
        try:
            return self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.out.stem} does not end: {tail(self.out)}")


@dataclass
class Finished:
    """What is there when all is over."""

    home: Path
    server: int
    clients: dict[str, Process]
    codes: dict[str, int]
    left: list[str]
    """Command lines of processes that outlived those who started them."""
    doors: list[Any]
    """Ports that processes of a client's machine listened on."""

    @property
    def run(self) -> Path:
        return self.home / "run"

    def rounds(self, federation: str) -> list[dict[str, Any]]:
        """Return a federation's records."""
        home = self.run / "control" if federation == "control" else self.run
        return [json.loads(line) for line in (home / "rounds.jsonl").read_text().splitlines()]


def descendants(home: Path) -> list[str]:
    """Return the command lines of all processes of a test, whoever their parents are now."""
    found = []
    for process in psutil.process_iter(["environ", "cmdline", "status"]):
        info = process.info
        mine = (info["environ"] or {}).get("DEPLOYMENT_TEST") == str(home)
        if mine and info["status"] != psutil.STATUS_ZOMBIE:
            found.append(" ".join(info["cmdline"] or []))
    return found


def listening(client: Process) -> list[Any]:
    """Return the network ports that a client and all its processes listen on."""
    parent = psutil.Process(client.popen.pid)
    family = [parent, *parent.children(recursive=True)]
    return [
        one.laddr
        for process in family
        for one in process.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """Lead a federation to its end, and stop everybody."""
    home = tmp_path_factory.mktemp("d")
    certs.init(home / "certs", ["localhost"], 4, 1)
    certs.init(home / "other", ["localhost"], 1, 1)
    address = f"localhost:{free_port()}"
    tls = home / "certs"
    started: dict[str, Process] = {}

    def join(name: str, key: Path, *more: object) -> None:
        started[name] = Process.start(
            home, name, "client", "--server", address, "--tls", tls / "ca.crt", "--key", key,
            "--state", home / "s", *more,
        )  # fmt: skip

    try:
        started["server"] = Process.start(
            home, "server", "server", "--experiment", "micro-quick", *OPTIONS,
            "--listen", address, "--tls", tls, "--allow", tls / "allow", "-o", home / "run",
        )  # fmt: skip
        server = Address.parse(address)
        assert wait_until(lambda: look(server, tls / "ca.crt").reached, PATIENCE)
        (attacker,) = malicious_clients(load("micro-quick", SHORT))
        honest = [number for number in range(4) if number != attacker]
        join("attacker", tls / "keys" / f"node{attacker}", "--device", "cpu",
             "--red-team", "--behaviour", "poisoned-data")  # fmt: skip
        join("honest0", tls / "keys" / f"node{honest[0]}", "--device", "cpu")
        assert wait_until(lambda: bool(started["honest0"].events("connected")), PATIENCE)
        doors = listening(started["honest0"])
        socket = started["honest0"].events("start")[0]["trainer"]
        for index in (1, 2):
            join(f"honest{index}", tls / "keys" / f"node{honest[index]}", "--trainer", socket,
                 *(["--once"] if index == 2 else []))  # fmt: skip
        join("stranger", home / "other" / "keys" / "node0", "--trainer", socket)
        stranger = started["stranger"]
        assert wait_until(lambda: bool(stranger.events("refused")), PATIENCE)
        stranger.popen.send_signal(signal.SIGTERM)  # it would go on trying
        code = started["server"].wait()
        clients = {name: one for name, one in started.items() if name != "server"}
        for name, one in clients.items():
            if name != "honest2":  # it leaves by itself
                one.popen.send_signal(signal.SIGTERM)
        codes = {name: one.wait() for name, one in clients.items()}
        time.sleep(0.5)
        yield Finished(home, code, clients, codes, descendants(home), doors)
    finally:
        for one in started.values():
            one.popen.kill()
            one.popen.wait()
        wait_until(lambda: not descendants(home), 20)


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same experiment with no network."""
    directory = tmp_path_factory.mktemp("inline") / "run"
    inline.run(load("micro-quick", SHORT), directory)
    return directory


def test_server_completes_its_run(finished: Finished) -> None:
    assert finished.server == 0, (finished.home / "server.log").read_text()[-3000:]
    assert json.loads((finished.run / "summary.json").read_text())["status"] == "completed"
    assert (finished.run / "report.html").is_file()


@pytest.mark.parametrize("adapter", ["adapter", "control/adapter"])
def test_adapter_equals_the_inline_runtimes(
    adapter: str, finished: Finished, in_one_process: Path
) -> None:
    file = f"{adapter}/adapter_model.safetensors"
    assert (finished.run / file).read_bytes() == (in_one_process / file).read_bytes()


def test_only_the_declared_attacker_is_malicious(finished: Finished) -> None:
    truth = {
        federation: {
            one["client"]
            for record in finished.rounds(federation)
            for one in record["clients"]
            if one["malicious"]
        }
        for federation in ("control", "main")
    }
    assert truth == {"control": set(), "main": malicious_clients(load("micro-quick", SHORT))}


def test_base_model_is_loaded_once_a_trainer(finished: Finished) -> None:
    records = [*finished.rounds("control"), *finished.rounds("main")]
    loads = [[one["load_seconds"] for one in record["clients"]] for record in records]
    assert sum(seconds > 0 for seconds in loads[0]) == 2
    assert all(seconds == 0 for later in loads[1:] for seconds in later)


def test_each_client_is_told_its_rounds(finished: Finished) -> None:
    for name in ("attacker", "honest0", "honest1", "honest2"):
        done = finished.clients[name].events("job-end")
        assert [(one["federation"], one["round"]) for one in done] == [
            ("control", 1), ("control", 2), ("main", 1), ("main", 2),
        ]  # fmt: skip


def test_a_key_that_is_not_allowed_is_told_so(finished: Finished) -> None:
    stranger = finished.clients["stranger"]
    assert not stranger.events("connected")
    assert "its key is not on the allow list" in stranger.events("refused")[0]["message"]


def test_no_port_of_a_clients_machine_is_open(finished: Finished) -> None:
    assert finished.doors == []


def test_told_to_end_every_client_ends(finished: Finished) -> None:
    told = {name: code for name, code in finished.codes.items() if name != "honest2"}
    assert set(told.values()) == {130}


def test_a_client_that_came_for_one_run_leaves_by_itself(finished: Finished) -> None:
    assert finished.codes["honest2"] == 0
    assert [one["name"] for one in finished.clients["honest2"].events("farewell")]


def test_every_client_is_told_when_the_rounds_are_over(finished: Finished) -> None:
    for name in ("attacker", "honest0", "honest1"):
        assert len(finished.clients[name].events("farewell")) == 1


def test_nothing_runs_on(finished: Finished) -> None:
    assert finished.left == []

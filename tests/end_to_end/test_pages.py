"""The commands of the page on separate machines, run together: server, clients and attacker.

They are run as the page has them, each in a directory of its own that holds what the page says
it was given. Only what a machine of its own has is replaced: the host, the port and the GPU; the
other honest clients use the first one's trainer, which spares this machine a few processes.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedsafe.contracts import sources
from fedsafe.deployment.child_processes import tail, wait_until
from fedsafe.deployment.server.nginx import nginx
from fedsafe.flower.environment import environment, free_port
from tests.architecture import pages
from tests.end_to_end.conftest import ROOT, TINY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(nginx() is None, reason="nginx is not installed (apt: nginx-light)"),
]
PATIENCE = 300.0
EXPERIMENT = """
preset: micro-quick
data: {source: client}
control: false
defenses: []
"""
SMALL = [one for one in TINY if one.startswith(("evaluation.suites", "training", "attack"))]


def commands() -> tuple[pages.Command, ...]:
    """Return the page's certs, server, client and attacker, which are one block."""
    for page in pages.pages():
        for block in pages.parse(page):
            found = tuple(one for one in pages.commands("fedsafe") if one.block == block)
            if [one.words[1] for one in found] == ["certs", "server", "client", "client"]:
                return found
    pytest.fail("No page shows certs, server, client and attacker in one block.")


@dataclass
class Federation:
    """Processes that the page's reader starts, each in a directory of its own."""

    home: Path
    port: int = field(default_factory=free_port)
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def words(self, words: Sequence[str]) -> list[str]:
        """Return a command's words for this machine."""
        line = "\0".join(words).replace("\0--gpu\0000", "\0--device\0cpu")
        line = line.replace("fl.example.org", "localhost").replace("0.0.0.0", "localhost")
        return line.replace(":8443", f":{self.port}").split("\0")[1:]

    def start(self, name: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
        place = self.home / name
        place.mkdir(exist_ok=True)
        around = environment(self.home / f"flower-{name}") | {"HOME": str(place)}
        with (self.home / f"{name}.log").open("wb") as log:
            self.started[name] = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "fedsafe", *self.words(words)],
                cwd=place, env=around | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
            )  # fmt: skip
        return self.started[name]

    def client(self, number: int, words: Sequence[str], *more: str) -> None:
        """Start a client of a number, with its own key and data."""
        place, certs = self.home / f"client{number}", self.home / "server" / "certs"
        place.mkdir()
        for given in (certs / "ca.crt", certs / "keys" / f"node{number}"):
            (place / given.name).write_bytes(given.read_bytes())
            (place / given.name).chmod(0o600)
        samples = sources["micro"].function(number, count=64)
        rows = [{"instruction": one.instruction, "output": one.response} for one in samples]
        (place / "private.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        key = words.index("--key") + 1
        self.start(f"client{number}", [*words[:key], f"node{number}", *words[key + 1 :], *more])

    def trainer(self, name: str) -> str:
        """Return the socket of a client's trainer, as the client says it."""
        log, said = self.home / f"{name}.log", re.compile(r"trainer's socket is (\S+)")
        assert wait_until(lambda: said.search(log.read_text()) is not None, PATIENCE), tail(log)
        return said.findall(log.read_text())[0]

    def end(self) -> None:
        for one in self.started.values():
            one.send_signal(signal.SIGTERM)
        for one in self.started.values():
            try:
                one.wait(20)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()

    def log(self, name: str) -> str:
        return tail(self.home / f"{name}.log")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    init, server, client, attacker = commands()
    federation = Federation(tmp_path_factory.mktemp("p"))
    small = [part for text in (*SMALL, "federation.rounds=1") for part in ("--set", text)]
    (federation.home / "server").mkdir()
    (federation.home / "server" / "my.yaml").write_text(EXPERIMENT)
    try:
        assert federation.start("server", init.words).wait(PATIENCE) == 0, federation.log("server")
        running = federation.start("server", [*server.words, *small])
        last = int(attacker.values("--key")[0].removeprefix("node"))
        honest = [number for number in range(int(init.values("--clients")[0])) if number != last]
        assert int(client.values("--key")[0].removeprefix("node")) == honest[0]
        federation.client(honest[0], client.words)
        socket = federation.trainer(f"client{honest[0]}")
        shared = ("--trainer", socket)
        for number in honest[1:]:
            federation.client(number, _without_device(client.words), *shared)
        federation.client(last, _without_device(attacker.words), *shared)
        running.wait(PATIENCE)
        yield federation
    finally:
        federation.end()


def _without_device(words: Sequence[str]) -> list[str]:
    return " ".join(words).replace(" --gpu 0", "").split()


def test_server_of_the_page_completes_its_run(finished: Federation) -> None:
    assert finished.started["server"].returncode == 0, finished.log("server")
    summary = json.loads((finished.home / "server" / "runs" / "my" / "summary.json").read_text())
    assert summary["status"] == "completed"


def test_each_client_of_the_page_trained_and_the_attacker_attacked(finished: Federation) -> None:
    last = finished.home / "server" / "runs" / "my" / "rounds.jsonl"
    (record,) = [json.loads(line) for line in last.read_text().splitlines()]
    told = [(one["client"], one["status"], one["malicious"]) for one in record["clients"]]
    assert told == [(n, "accepted", n == 3) for n in range(4)]

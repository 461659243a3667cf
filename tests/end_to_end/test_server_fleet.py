"""`fedsafe server` as a whole: what it starts ends with it, however it ends, and goes on."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fedsafe.deployment.child_processes import wait_until
from fedsafe.deployment.server import certs
from fedsafe.deployment.server.nginx import nginx
from fedsafe.flower.environment import free_port
from tests.end_to_end.conftest import ROOT, TINY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(nginx() is None, reason="nginx is not installed (apt: nginx-light)"),
]
WAIT = 120
CHANGES = (*TINY, "federation.clients=2", "attack=null", "red_team=false", "defenses=[]")


class Server:
    """The same command again and again, with further changes and options; no trainer comes."""

    def __init__(self, home: Path, *more: str) -> None:
        self.certs, self.address = home / "certs", f"127.0.0.1:{free_port()}"
        certs.init(self.certs, ["127.0.0.1"], clients=2, days=90)
        self.run = home / "run"
        changes = [*CHANGES, *(text for text in more if not text.startswith("--"))]
        self.command = [
            sys.executable, "-W", "ignore", "-m", "fedsafe", "server", "--json",
            "--experiment", "micro-quick", "-o", str(self.run),
            "--listen", self.address, "--tls", str(home / "certs"),
            "--allow", str(home / "certs" / "allow"),
            *(option for text in changes for option in ("--set", text)),
            *(text for text in more if text.startswith("--")),
        ]  # fmt: skip
        self.process: subprocess.Popen[str] | None = None
        self.family: list[psutil.Process] = []

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def meet(self, name: str) -> psutil.Process:
        """Wait for a process of the server's by a word of its command line."""
        assert self.process is not None
        found: list[psutil.Process] = []

        def there() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.process.communicate()[1]
            self.family = psutil.Process(self.process.pid).children(recursive=True)
            found[:] = [one for one in self.family if name in _words(one)]
            return bool(found)

        assert wait_until(there, WAIT), f"no {name} among {self.family}"
        return found[0]

    def wait_for_clients(self, times: int) -> None:
        """Wait until the ServerApp waits for clients, so many times in all."""
        events = self.run / "events.jsonl"
        assert wait_until(
            lambda: events.is_file() and events.read_text().count("clients are there") >= times,
            WAIT,
        )

    def end(self) -> tuple[int, str]:
        assert self.process is not None
        _, error = self.process.communicate(timeout=60)
        return self.process.returncode, error

    def all_gone(self, seconds: float) -> bool:
        return wait_until(lambda: not any(map(_alive, self.family)), seconds)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.process.kill()
        server.process.communicate()
    assert server.all_gone(15)


def test_no_secret_is_on_a_command_line(server: Server) -> None:
    """Every user of the machine can read the command lines of all its processes."""
    server.wait_for_clients(1)
    server.meet("flwr-serverapp")
    lines = {one.pid: one.cmdline() for one in server.family}
    assert any("front.conf" in " ".join(line) for line in lines.values())
    words = [word for line in lines.values() for word in line]
    state = server.run / ".server"
    secrets = [json.loads((state / "superlink.json").read_text())["token"],
               (state / "secret").read_text()]  # fmt: skip
    assert [word for word in words if any(secret in word for secret in secrets)] == []
    assert [word for word in words if re.fullmatch(r"[0-9a-fA-F]{32,}|[\w+/=-]{40,}", word)] == []


def test_nothing_is_left_behind_and_the_same_command_goes_on(server: Server) -> None:
    server.wait_for_clients(1)
    for name in (
        "front.conf",
        "fedsafe.deployment.server.superlink",
        "fedsafe.flower.launcher",
        "flwr-serverapp",
    ):
        server.meet(name)
    assert server.process is not None
    server.process.kill()
    server.end()
    assert server.all_gone(15)

    server.start()  # at once: what was killed may still hold the port and the directory
    server.wait_for_clients(2)
    server.meet("flwr-serverapp").kill()
    server.wait_for_clients(3)
    server.meet("fedsafe.flower.launcher").kill()
    server.wait_for_clients(4)
    front = server.meet("front.conf")
    front.kill()
    assert wait_until(lambda: server.meet("front.conf") != front, WAIT)

    server.meet("flwr-serverapp")
    server.process.send_signal(signal.SIGTERM)
    code, error = server.end()
    assert code == 130
    assert "Go on with the same command" in error
    assert server.all_gone(0)
    assert json.loads((server.run / "summary.json").read_text())["status"] == "interrupted"

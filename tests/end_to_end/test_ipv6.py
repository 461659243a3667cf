"""A federation over IPv6, by a user without rights where root can hand it to one."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fedsafe.deployment.child_processes import tail
from fedsafe.deployment.server import certs
from fedsafe.deployment.server.nginx import nginx
from tests.end_to_end.conftest import ROOT, TINY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(nginx() is None, reason="nginx is not installed (apt: nginx-light)"),
]
NOBODY = 65534
CHANGES = (
    *TINY, "federation.clients=1", "federation.rounds=1", "evaluation.probe_every=0",
    "attack=null", "red_team=false", "defenses=[]",
)  # fmt: skip
PATIENCE = 300.0
"""Seconds for the run, on a machine that has much else to do."""


@pytest.fixture
def user() -> dict[str, Any]:
    """How to start a process as an ordinary user; as oneself if no other can read the code."""
    if os.geteuid():
        return {}
    nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", "import fedsafe"], cwd=ROOT, check=True, **nobody)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return nobody


@pytest.fixture
def home(user: dict[str, Any]) -> Iterator[Path]:
    """A directory of that user's own; pytest's own are closed to others."""
    with TemporaryDirectory() as made:
        certs.init(Path(made, "certs"), [], clients=1, days=90)
        if user:
            for path in (Path(made), *Path(made).rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        yield Path(made)


def port() -> int:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
            return int(listener.getsockname()[1])
    except OSError:
        pytest.skip("this machine has no IPv6")


def test_a_federation_over_ipv6_completes(home: Path, user: dict[str, Any]) -> None:
    address, made = f"[::1]:{port()}", home / "certs"

    def start(name: str, *arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-W", "ignore", "-m", "fedsafe", name, *map(str, arguments)]
        environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)}
        environment["FEDSAFE_CACHE"] = str(home / "cache")
        with (home / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command, cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT, **user
            )

    server = start(
        "server", "--experiment", "micro-quick", "--listen", address, "-o", home / "run",
        "--tls", made, "--allow", made / certs.ALLOW,
        *(option for text in CHANGES for option in ("--set", text)),
    )  # fmt: skip
    client = start(
        "client", "--server", address, "--tls", made / certs.CA, "--key", made / "keys" / "node0",
        "--device", "cpu",
    )  # fmt: skip
    try:
        code = server.wait(PATIENCE)
        told = (tail(home / "server.log"), tail(home / "client.log"))
        assert code == 0, told
        client.send_signal(signal.SIGTERM)
        assert client.wait(60) == 130, told
        assert {path.stat().st_uid for path in (home / "run").rglob("*")} == {
            user.get("user", os.geteuid())
        }
    finally:
        for process in (server, client):
            process.kill()
            process.wait()

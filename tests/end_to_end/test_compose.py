"""The commands and health checks of docker-compose.yml, run here without containers."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture import compose

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not any(
            (Path(place) / "nginx").is_file()
            for place in (*os.environ["PATH"].split(os.pathsep), "/usr/sbin")
        ),
        reason="nginx is not installed: apt install nginx-light",
    ),
]
BIN = Path(sys.executable).parent
SERVICES = compose.services()


@dataclass(frozen=True)
class Machine:
    """A place for everything that the services find in their containers."""

    root: Path
    port: int

    def run(self, name: str, *changes: str) -> subprocess.Popen[bytes]:
        """Start a service's command."""
        command = [self._here(name, text) for text in SERVICES[name]["command"]]
        return subprocess.Popen(
            [str(BIN / "fedsafe"), *command, *changes],
            env=self._env(),
            stdout=(self.root / f"{name}.log").open("wb"),
            stderr=subprocess.STDOUT,
        )

    def healthy(self, name: str) -> bool:
        """Return what a service's health check says."""
        kind, *command = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        command = [self._here(name, text) for text in command]
        return subprocess.run(command, env=self._env(), check=False, timeout=60).returncode == 0

    def log(self, name: str) -> str:
        """Return what a service printed."""
        return (self.root / f"{name}.log").read_text(errors="replace")

    def prepare(self) -> None:
        """Make the volumes, and run the script of `certs`."""
        for service in SERVICES.values():
            for mount in compose.mounts(service):
                (self.root / mount.volume).mkdir(mode=0o700, exist_ok=True)
        (script,) = SERVICES["certs"]["command"]
        script = self._here("certs", script)
        places = {
            key: self._here("certs", text) for key, text in SERVICES["certs"]["environment"].items()
        }
        for mount in compose.mounts(SERVICES["certs"]):
            if mount.target.startswith("/handout/"):
                place = self.root / "handout" / Path(mount.target).name
                place.parent.mkdir(exist_ok=True)
                place.symlink_to(self.root / mount.volume)
        subprocess.run(
            [*SERVICES["certs"]["entrypoint"], script],
            env={**self._env(), **places, "HANDOUT": str(self.root / "handout")},
            check=True,
            timeout=60,
        )

    def _here(self, name: str, text: str) -> str:
        """Return a text of the file with this machine's places for the container's."""
        for mount in compose.mounts(SERVICES[name]):
            text = text.replace(mount.target, str(self.root / mount.volume))
        for old, new in (("0.0.0.0:8443", "127.0.0.1:8443"), ("server:8443", "localhost:8443")):
            text = text.replace(old, new)
        return text.replace("8443", str(self.port))

    def _env(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    made = Machine(tmp_path_factory.mktemp("m"), port)
    made.prepare()
    return made


@contextmanager
def _running(machine: Machine, name: str) -> Iterator[subprocess.Popen[bytes]]:
    process = machine.run(name)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def server(machine: Machine) -> Iterator[subprocess.Popen[bytes]]:
    with _running(machine, "server") as process:
        yield process


@pytest.fixture(scope="module")
def attacker(
    machine: Machine, server: subprocess.Popen[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    _becomes_true(lambda: machine.healthy("server"), machine, "server")
    with _running(machine, "attacker") as process:
        yield process


def _becomes_true(condition: Callable[[], bool], machine: Machine, name: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, machine.log(name)
        time.sleep(0.5)


def test_server_is_not_healthy_before_it_runs(machine: Machine) -> None:
    assert not machine.healthy("server")


def test_server_becomes_healthy(machine: Machine, server: subprocess.Popen[bytes]) -> None:
    _becomes_true(lambda: machine.healthy("server"), machine, "server")


def test_client_becomes_healthy(machine: Machine, attacker: subprocess.Popen[bytes]) -> None:
    _becomes_true(lambda: machine.healthy("attacker"), machine, "attacker")


def test_client_is_let_in_by_the_key_that_it_was_handed(
    machine: Machine, attacker: subprocess.Popen[bytes]
) -> None:
    _becomes_true(lambda: "connected to localhost" in machine.log("attacker"), machine, "attacker")


def test_client_is_not_healthy_after_it_ended(
    machine: Machine, attacker: subprocess.Popen[bytes]
) -> None:
    _becomes_true(lambda: machine.healthy("attacker"), machine, "attacker")
    attacker.terminate()
    attacker.wait(60)
    assert not machine.healthy("attacker")

"""`fedsafe client` as processes: what dies is started again, and nothing outlives it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fedsafe.deployment.child_processes import Child, wait_until
from fedsafe.deployment.client import supervisor
from fedsafe.flower.environment import free_port

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[5]
PATIENCE = 90.0
"""Seconds that a busy machine may take to start Python with torch."""


class Client:
    """A `fedsafe client` whose server is away."""

    def __init__(self, state: Path) -> None:
        self.out = state / "out.jsonl"
        state.mkdir(parents=True)
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fedsafe", "client", "--insecure", "--number", "0",
                 "--server", f"127.0.0.1:{free_port()}", "--device", "cpu", "--json",
                 "--state", str(state / "s")],
                cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        assert wait_until(lambda: len(self.family()) == 2, PATIENCE), self.out.read_text()

    def family(self) -> list[psutil.Process]:
        """Return trainer and node."""
        return [one for one in psutil.Process(self.process.pid).children(True) if alive(one)]

    def find(self, word: str) -> psutil.Process | None:
        """Return the one of them whose command line has a word."""
        return next((one for one in self.family() if word in " ".join(one.cmdline())), None)

    def told(self, kind: str) -> dict[str, Any] | None:
        """Return the last event of a kind."""
        lines = self.out.read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return next((event for event in reversed(events) if event["kind"] == kind), None)


def alive(process: psutil.Process) -> bool:
    """Return whether a process runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Client]]:
    """Start clients; whatever they leave behind is killed at the end."""
    started: list[tuple[Client, list[psutil.Process]]] = []

    def begin() -> Client:
        one = Client(tmp_path_factory.mktemp("client") / "c")
        started.append((one, one.family()))
        return one

    yield begin
    for one, family in started:
        everyone = [*family, *(one.family() if one.process.poll() is None else [])]
        one.process.kill()
        one.process.wait()
        for process in filter(alive, everyone):
            process.kill()


@pytest.fixture(scope="module")
def client(start: Callable[[], Client]) -> Client:
    """A client that several tests hurt a little."""
    return start()


@pytest.mark.parametrize(
    ("word", "kind", "said"),
    [
        ("fedsafe.deployment.client.worker_process", "trainer-died", "the trainer died: killed"),
        ("fedsafe.deployment.client.supernode", "node-died", "the node ended: killed"),
    ],
)
def test_what_is_killed_is_started_again(word: str, kind: str, said: str, client: Client) -> None:
    victim = client.find(word)
    assert victim is not None
    victim.kill()

    def back() -> bool:
        found = client.find(word)
        return found is not None and found.pid != victim.pid and len(client.family()) == 2

    assert wait_until(back, PATIENCE)
    event = client.told(kind)
    assert event is not None
    assert said in event["message"]
    assert client.process.poll() is None


def test_a_server_that_is_away_is_told(client: Client) -> None:
    event = client.told("away")
    assert event is not None
    assert "trying until there is one" in event["message"]


def test_the_same_client_cannot_run_twice(client: Client) -> None:
    again = subprocess.run(
        client.process.args, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert again.returncode == 1
    assert f"(process {client.process.pid}) runs with" in again.stdout + again.stderr


def test_interrupted_it_leaves_nothing(start: Callable[[], Client]) -> None:
    one = start()
    family = one.family()
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(PATIENCE) == 130
    assert not any(map(alive, family))
    assert "nothing runs on" in one.out.read_text()


def test_killed_it_leaves_nothing(start: Callable[[], Client]) -> None:
    one = start()
    family = one.family()
    one.process.kill()
    assert wait_until(lambda: not any(map(alive, family)), PATIENCE)


def test_a_trainer_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "ASK", 0.0)
    monkeypatch.setattr(supervisor, "SILENCE", 0.5)
    path = tmp_path / "t.sock"
    deaf = (
        "import socket, time; s = socket.socket(socket.AF_UNIX); "
        f"s.bind({str(path)!r}); s.listen(); time.sleep(60)"
    )
    told: list[str] = []
    child = Child("The trainer", [sys.executable, "-c", deaf], log=tmp_path / "log")
    watched = supervisor.WorkerProcess(path, child, lambda kind, *_, **__: told.append(kind))
    child.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while child.alive and time.monotonic() < deadline:
            watched.look()
        assert child.code == -signal.SIGKILL
        assert told == ["trainer-hung"]
    finally:
        child.kill()


def test_a_trainer_that_cannot_start_is_a_sentence(tmp_path: Path) -> None:
    child = Child("The trainer", [sys.executable, "-c", "print('No room.')"], log=tmp_path / "log")
    watched = supervisor.WorkerProcess(tmp_path / "t.sock", child, lambda *_, **__: None)
    with pytest.raises(supervisor.LaunchError, match=r"The trainer did not start: No room\. See"):
        watched.start()

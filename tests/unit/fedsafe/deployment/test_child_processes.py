"""Child processes: they end with their parent, with their group, and say how."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedsafe.deployment.child_processes import (
    Child,
    limit_memory,
    memory_of_machine,
    runs,
    signal_group,
    tail,
    wait_until,
)
from fedsafe.errors import LaunchError

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}"
Make = Callable[..., Child]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make children of some Python code; whatever is left of them is ended."""
    made: list[Child] = []

    def child(code: str, **options: object) -> Child:
        log = tmp_path / f"{len(made)}.log"
        made.append(Child("it", [sys.executable, "-c", code], log=log, **options))  # type: ignore[arg-type]
        return made[-1]

    yield child
    for one in made:
        one.kill()


def said(child: Child, count: int = 1) -> bool:
    """Wait until a child, or it and its own child, are up."""
    return wait_until(lambda: tail(child.log).count("up") >= count, 20)


def members(group: int) -> list[int]:
    """Return the processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if os.getpgid(int(entry.name)) == group and runs(int(entry.name)):
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


def test_it_runs_until_it_is_stopped(make: Make) -> None:
    child = make(SLEEP)
    assert (child.pid, child.code, child.alive) == (None, None, False)
    child.start()
    assert said(child)
    assert child.alive
    child.stop()
    assert (child.alive, child.code) == (False, -signal.SIGTERM)


def test_one_that_does_not_listen_is_made_to_end(make: Make) -> None:
    child = make(STUBBORN, patience=0.2)
    child.start()
    assert said(child)
    child.stop()
    assert child.code == -signal.SIGKILL


def test_killing_takes_its_own_children_along(make: Make) -> None:
    child = make(PARENT)
    child.start()
    assert said(child, 2)
    child.kill()
    assert wait_until(lambda: not members(child.pid or 0), 5)


def test_what_one_left_behind_when_it_died_is_ended_too(make: Make) -> None:
    child = make(PARENT)
    child.start()
    assert said(child, 2)
    os.kill(child.pid or 0, signal.SIGKILL)
    assert wait_until(lambda: not child.alive, 5)
    assert members(child.pid or 0)
    child.kill()
    assert wait_until(lambda: not members(child.pid or 0), 5)


@pytest.mark.parametrize("on_parent_death", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_its_parent_however_that_dies(
    tmp_path: Path, on_parent_death: signal.Signals
) -> None:
    code = (
        "import signal, sys, time; from pathlib import Path\n"
        "from fedsafe.deployment.child_processes import Child\n"
        f"child = Child('it', [sys.executable, '-c', {SLEEP!r}], log=Path({str(tmp_path)!r}) / 'l',"
        f" on_parent_death=signal.Signals({int(on_parent_death)}))\n"
        "child.start(); print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert runs(pid)
        parent.kill()
    assert wait_until(lambda: not runs(pid), 10)


def test_one_may_tie_itself_to_its_parent(tmp_path: Path) -> None:
    """Even where it would not hear a signal, as while it waits for a lock."""
    deaf = "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()"
    bound = (
        "from fedsafe.deployment.child_processes import end_with_parent; end_with_parent(); "
        f"print('up', flush=True); {deaf}"
    )
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {bound!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert wait_until(lambda: not runs(pid), 10)


def test_it_can_be_started_again_and_its_log_goes_on(make: Make) -> None:
    child = make("print('once')")
    for _ in range(2):
        child.start()
        assert wait_until(lambda: child.code == 0, 20)
    assert tail(child.log) == "once\nonce\n"


@pytest.mark.parametrize(
    ("code", "exit_description"),
    [
        ("print('\\x1b[92mINFO\\x1b[0m: over')", "ended: INFO: over"),
        ("pass", "ended: it said nothing"),
        ("raise SystemExit('wrong')", "ended: wrong"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
    ],
)
def test_it_says_how_it_ended(make: Make, code: str, exit_description: str) -> None:
    child = make(code)
    child.start()
    assert wait_until(lambda: not child.alive, 20)
    assert child.exit_description() == exit_description


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    child = Child("the thing", ["no-such-program"], log=tmp_path / "log")
    with pytest.raises(LaunchError, match="the thing cannot be started: no-such-program"):
        child.start()


def test_a_condition_is_waited_for_and_no_longer() -> None:
    begun = time.monotonic()
    assert not wait_until(lambda: False, 0.2, pause=0.01)
    assert wait_until(lambda: time.monotonic() - begun > 0.3, 5, pause=0.01)


def test_a_group_that_is_gone_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], start_new_session=True) as process:
        process.wait()
    signal_group(process.pid, signal.SIGTERM)
    assert not runs(process.pid)


def test_memory_is_that_of_this_machine() -> None:
    assert 2**28 < memory_of_machine() < 2**50


def test_the_wall_is_a_wall() -> None:
    code = (
        "from fedsafe.deployment.child_processes import limit_memory\n"
        "limit_memory(512 * 1024**2)\n"
        "try:\n bytearray(1024**3)\n"
        "except MemoryError:\n print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


def test_a_wall_that_is_lower_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    monkeypatch.setattr(resource, "setrlimit", lambda *given: said.append(given))
    limit_memory(1000)
    assert said == []

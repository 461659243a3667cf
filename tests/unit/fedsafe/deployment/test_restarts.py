"""A child that dies is started again: at once, then after growing pauses."""

import os
import signal
import sys
import time
from pathlib import Path

from fedsafe.deployment.child_processes import Child, wait_until
from fedsafe.deployment.restarts import LONGEST, RestartingChild, how_it_ended, pause_after


def child(tmp_path: Path, code: str) -> Child:
    """Return a process that runs a piece of Python."""
    return Child("a child", [sys.executable, "-c", code], log=tmp_path / "log")


def test_a_child_that_was_killed_is_started_again_at_once(tmp_path: Path) -> None:
    pauses: list[float] = []
    kept = RestartingChild(child(tmp_path, "import time; time.sleep(60)"), pauses.append)
    kept.start()
    first = kept.child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: not kept.child.alive, 10)
    kept.look()
    try:
        assert pauses == [0.0]
        assert kept.child.alive
        assert kept.child.pid != first
    finally:
        kept.child.kill()


def test_a_child_that_dies_at_once_is_waited_for(tmp_path: Path) -> None:
    pauses: list[float] = []
    kept = RestartingChild(child(tmp_path, "print('no')"), pauses.append)
    kept.start()
    deadline = time.monotonic() + 20
    while len(pauses) < 2 and time.monotonic() < deadline:
        kept.look()
        time.sleep(0.01)
    assert pauses == [0.0, 1.0]
    assert not kept.child.alive


def test_each_start_is_prepared(tmp_path: Path) -> None:
    prepared: list[int] = []
    kept = RestartingChild(child(tmp_path, ""), lambda pause: None, lambda: prepared.append(1))
    kept.start()
    assert wait_until(lambda: not kept.child.alive, 10)
    kept.look()
    assert len(prepared) == 2
    kept.child.kill()


def test_pauses_grow_to_half_a_minute() -> None:
    assert [pause_after(deaths) for deaths in range(1, 9)] == [0, 1, 2, 4, 8, 16, 30, 30]


def test_end_is_put_in_words(tmp_path: Path) -> None:
    words = []
    for code in ("import sys; sys.exit(3)", "import os; os.kill(os.getpid(), 9)",
                 "import os; os.kill(os.getpid(), 15)"):  # fmt: skip
        one = child(tmp_path, code)
        one.start()
        assert wait_until(lambda one=one: not one.alive, 10)
        words.append(how_it_ended(one))
    assert words[0] == "exit code 3"
    assert words[1].startswith("killed, as the system does when memory runs out")
    assert words[2] == "ended by SIGTERM"


def test_a_night_of_deaths_has_pauses_still() -> None:
    assert pause_after(10_000) == LONGEST

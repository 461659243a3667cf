"""Child processes that end with their parent: start, watch, stop, read their logs.

Each child is signalled by the kernel when its parent dies, however it dies (Linux), and
runs in a process group of its own, so that a terminal's Ctrl-C reaches the parent alone.
"""

import contextlib
import ctypes
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedsafe.errors import LaunchError
from fedsafe.models.cgroups import usable_memory
from fedsafe.runs.files import private, private_directory

PR_SET_PDEATHSIG = 1
COLOR = re.compile(r"\x1b\[[0-9;]*m")
TAIL = 4096
"""Bytes of a log that are looked at for a child's last words."""


class Child:
    """One child process with its log file.

    Start it from the main thread: the kernel ends it with the thread that started it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        patience: float = 10.0,
        on_parent_death: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._env = dict(os.environ if env is None else env)
        self._cwd = cwd
        self._patience = patience
        self._on_parent_death = on_parent_death
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return its process id, or None before it was started."""
        return None if self._process is None else self._process.pid

    @property
    def code(self) -> int | None:
        """Return its exit code; None while it runs, and before it was started."""
        return None if self._process is None else self._process.poll()

    @property
    def alive(self) -> bool:
        """Return whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, or start it again; its log goes on.

        Raises:
            LaunchError: There is no such program.
        """
        private_directory(self.log.parent)
        parent, ending = os.getpid(), self._on_parent_death
        try:
            with open(self.log, "ab", opener=private) as log:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                    umask=0o077,  # logs and what it writes are for this user alone
                    preexec_fn=lambda: _set_parent_death_signal(parent, ending),  # noqa: PLW1509 - async-signal-safe enough
                )
        except OSError as error:
            raise LaunchError(
                f"{self.name} cannot be started: {self.command[0]}: {error.strerror}."
            ) from None

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if it does not end in time."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(self._patience)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid)
            process.wait()

    def kill(self) -> None:
        """Send SIGKILL to its process group, also if the process itself has ended."""
        if self._process is not None:
            _kill_group(self._process.pid)
            self._process.wait()

    def last_log_line(self) -> str:
        """Return the last non-empty line of its log."""
        plain = COLOR.sub("", tail(self.log))
        lines = [line.strip() for line in plain.splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def exit_description(self) -> str:
        """Describe how it ended: the signal, or the last line of its log."""
        if self.code is not None and self.code < 0:
            return f"was ended by {signal.Signals(-self.code).name}"
        return f"ended: {self.last_log_line()}"


def tail(path: Path) -> str:
    """Return the end of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def wait_until(condition: object, seconds: float, pause: float = 0.1) -> bool:
    """Return whether a condition (a function of nothing) came true in time."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(pause)
    return bool(condition())


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal every process of a group, if there is one."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def runs(pid: int) -> bool:
    """Return whether a process is there, and more than an entry that nobody has read yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


def limit_memory(size: int) -> None:
    """Limit this process's data segment (``RLIMIT_DATA``), in bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or size < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def raise_file_limit(wanted: int) -> int:
    """Raise the limit of open files (``RLIMIT_NOFILE``); return the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def memory_of_machine() -> int:
    """Return the machine's memory in bytes, or the limit of this process's cgroup."""
    return usable_memory()


def _kill_group(pid: int) -> None:
    signal_group(pid, signal.SIGKILL)


def end_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when its parent ends.

    Flower looks for that itself, but from a thread that cannot interrupt the main one.
    """
    _set_parent_death_signal(os.getppid(), signal.SIGKILL)


def _set_parent_death_signal(parent: int, ending: signal.Signals) -> None:
    """Set the signal that the kernel sends on the parent's death (``PR_SET_PDEATHSIG``)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, ending)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)

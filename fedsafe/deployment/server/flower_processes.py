"""Flower's server processes behind nginx: SuperLink, SuperExec, ServerApp run."""

import os
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fedsafe.deployment.child_processes import Child, runs, signal_group, wait_until
from fedsafe.deployment.server import certs
from fedsafe.deployment.server.control import Control, Status
from fedsafe.deployment.server.plan import Plan
from fedsafe.deployment.server.status import NODES
from fedsafe.deployment.server.superlink import Settings
from fedsafe.errors import LaunchError
from fedsafe.experiment.load import as_yaml
from fedsafe.flower.environment import environment, free_port
from fedsafe.flower.internals import support
from fedsafe.runs.files import private_directory, write_text
from fedsafe.runs.store import Store

if TYPE_CHECKING:
    from server.transport.allowlist import Allowed

START_SECONDS = 90.0
"""Longest time for a SuperLink to answer."""
LEAVE_SECONDS = 20.0
"""Longest time for what an earlier server left behind to be gone."""
STOP_SECONDS = 5.0
"""Longest time for processes to end by themselves."""
ASK_SECONDS = 2.0
"""Between two looks at how the run is doing."""
GRACE = 3.0
"""Seconds between the end of the ServerApp's process and Flower's word of it."""


class FlowerProcesses:
    """SuperLink and SuperExec processes of one server."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._store = Store(plan.directory)
        host, port = ("127.0.0.1", free_port()) if plan.fronted else (plan.host, plan.port)
        self._host, self._port = host, port
        self._token = secrets.token_hex(32)
        self._prepared = False
        self._keys = plan.keys
        self._registered: set[bytes] = set()
        self._run: int | None = None
        self._leader: int | None = None
        self._gone: float | None = None
        self._next = 0.0
        inside = plan.state / "inside" if plan.fronted else plan.tls
        self.inside: Path | None = None if plan.tls is None else inside
        """Directory of the SuperLink's certificate and its authority."""
        around = environment(plan.state / "flower")
        settings = plan.state / "superlink.json"
        self._link = Child(
            "the SuperLink",
            [sys.executable, "-m", "fedsafe.deployment.server.superlink", str(settings)],
            log=plan.logs / "superlink.log",
            env=around,
            on_parent_death=signal.SIGKILL,  # none of these has anything to put in order
        )
        self._executor = Child(
            "Flower's launcher",
            [sys.executable, "-m", "fedsafe.flower.launcher",
             "--runtime-api-address", self.loopback, *self._trust(),
             "--superexec-auth-secret-file", str(plan.state / "secret")],
            log=plan.logs / "superexec.log",
            env=around,
            on_parent_death=signal.SIGKILL,
        )  # fmt: skip
        self._control: Control | None = None

    @property
    def address(self) -> str:
        """Where the SuperLink listens."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    @property
    def loopback(self) -> str:
        """Where it is reached from this machine."""
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
        host = anywhere.get(self._host, f"[{self._host}]" if ":" in self._host else self._host)
        return f"{host}:{self._port}"

    def _trust(self) -> list[str]:
        if self.inside is None:
            return ["--insecure"]
        return ["--root-certificates", str(self.inside / certs.CA)]

    # Starting -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the processes, register the client keys, and submit the run.

        Raises:
            LaunchError: A part does not start.
            RunError: Another process is writing to the run directory.
        """
        self._wait_for_the_directory()
        if not self._prepared:  # the front knows the first certificate, so it stays
            self._write_files()
            self._prepared = True
        root = None if self.inside is None else self.inside / certs.CA
        self._control = Control(self.loopback, self._token, root)
        self._link.start()
        if not wait_until(self._answers, START_SECONDS) or not self._link.alive:
            raise LaunchError(f"The SuperLink did not start: {self._link.last_log_line()}")
        if not self._control.guarded():
            raise LaunchError(
                "The SuperLink serves without the guard before it: its control interface answers "
                f"without a token. {support()}"
            )
        self._executor.start()
        self._registered = set()  # a SuperLink forgets them with its process
        self._register()
        self.submit()

    def admit(self, keys: "tuple[Allowed, ...]") -> None:
        """Register newly listed keys; the SuperLink itself excludes removed ones.

        Raises:
            LaunchError: It does not take a key.
        """
        self._keys = keys
        if self._control is not None and self._link.alive:
            self._register()

    def _register(self) -> None:
        assert self._control is not None
        for one in self._keys:
            if not one.revoked and one.key not in self._registered:
                self._control.register([(one.name, one.key)])
                self._registered.add(one.key)

    def submit(self) -> None:
        """Submit the run, which goes on where it stopped.

        Raises:
            LaunchError: The SuperLink does not take it.
            RunError: Another process is writing to the run directory.
        """
        assert self._control is not None
        if self._run is not None:
            self._control.stop(self._run)
        self._wait_for_the_directory()
        self._leader = self._gone = None
        self._run = self._control.submit(
            {
                "experiment": str(self._plan.state / "experiment.yaml"),
                "output": str(self._plan.directory),
                "allow": str(self._plan.allow or ""),
                "randomness": str(self._plan.randomness or ""),
            }
        )
        self._control.copy_log(self._run, self._plan.logs / "serverapp.log")

    def _answers(self) -> bool:
        return not self._link.alive or (self._control is not None and self._control.ready())

    def _write_files(self) -> None:
        plan, state = self._plan, self._plan.state
        private_directory(plan.logs)
        write_text(state / "experiment.yaml", as_yaml(plan.experiment))
        if plan.fronted and self.inside is not None:
            certs.write_loopback(self.inside)
        secret = state / "secret"
        write_text(secret, secrets.token_hex(32))
        Settings(
            host=self._host,
            port=self._port,
            token=self._token,
            secret=str(secret),
            tls="" if self.inside is None else str(self.inside),
            allow=str(plan.allow or ""),
            nodes=str(state / NODES),
        ).write(state / "superlink.json")

    def _wait_for_the_directory(self) -> None:
        """Wait until nobody writes to the run; an earlier ServerApp may just be ending."""
        with self._store.lock(patience=LEAVE_SECONDS):
            return

    # Watching -----------------------------------------------------------------------------

    def ended(self) -> str:
        """Return which process ended and how; empty while all run."""
        for child in (self._link, self._executor):
            if not child.alive:
                return f"{child.name} {child.exit_description()}"
        return ""

    def status(self) -> Status | None:
        """Return how the run has finished; None while it has not.

        A ServerApp that was killed is noticed at once, long before Flower misses it.
        """
        assert self._control is not None
        assert self._run is not None
        if self._leader is None:
            self._leader = self._writer()
        elif not runs(self._leader):
            self._gone = self._gone or time.monotonic()
        now = time.monotonic()
        if self._gone is None and now < self._next:
            return None
        self._next = now + ASK_SECONDS
        status = self._control.status(self._run)
        if status is not None and status.state == "finished":
            return status
        if self._gone is not None and now - self._gone > GRACE:
            return Status("finished", "failed", "the process was killed")
        return None

    def _writer(self) -> int | None:
        """Return the ServerApp's process id, as it writes it into the run's lock."""
        try:
            process = int((self._plan.directory / ".lock").read_text())
            return process if os.getpgid(process) == self._executor.pid else None
        except (OSError, ValueError):
            return None

    # Ending -------------------------------------------------------------------------------

    def stop(self) -> None:
        """End all of it, the ServerApp first; it may be cut off at any point."""
        if self._executor.pid is not None and self._executor.alive:
            signal_group(self._executor.pid, signal.SIGTERM)
            wait_until(lambda: not self._executor.alive, STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End all of it at once."""
        self._executor.kill()
        self._link.kill()
        if self._control is not None:
            self._control.close()
            self._control = None
        self._run = None

"""Server supervisor: starts, watches, restarts and stops nginx and Flower's processes.

A run goes on from its last complete round whatever dies, this process included.
"""

import contextlib
import os
import shutil
import signal
import threading
import time

from fedsafe.deployment.child_processes import Child
from fedsafe.deployment.server.control import Status
from fedsafe.deployment.server.event_tail import EventTail
from fedsafe.deployment.server.flower_processes import FlowerProcesses
from fedsafe.deployment.server.nginx import Nginx
from fedsafe.deployment.server.plan import Plan, claim, wait_for_port
from fedsafe.deployment.server.reloading import Reloader
from fedsafe.deployment.server.status import enter
from fedsafe.errors import FedSafeError, LaunchError, RunError
from fedsafe.flower.compatibility import check
from fedsafe.flower.environment import environment
from fedsafe.runs.events import Listener
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Summary
from fedsafe.runs.store import Store

TICK = 0.5
TRIES = 5
"""Starts in a row, with no round or stage in between, before the server gives up."""
LEAVE_SECONDS = 20.0
"""Longest time for an earlier server's front to let go of the address."""
LARGEST_LOG = 32 * 1024**2
RAISED = "ServerApp failed with exception: "
"""What Flower puts before the words of an exception that ended the ServerApp."""


def serve(plan: Plan, listen: Listener | None = None, metrics: int | None = None) -> Summary:
    """Serve an experiment over the network until it is finished; resumes an earlier run.

    Args:
        plan: What is run, where it listens, whom it lets in.
        listen: Told of the run's events.
        metrics: Port of this machine for figures in Prometheus' format; None: none.

    Raises:
        RunError: The run failed, or another server has the directory.
        LaunchError: A part does not start, or does not stay up.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    os.environ["NO_PROXY"] = environment(plan.state)["NO_PROXY"]
    check("server")
    with claim(plan.directory):
        enter(plan.directory, plan.address, plan.tls, plan.allow)
        if metrics is not None:
            from fedsafe.deployment.server.metrics import serve_metrics

            serve_metrics(plan.directory, metrics)
        fleet = ServerSupervisor(plan, listen)
        try:
            return fleet.run()
        except KeyboardInterrupt:
            fleet.stop()
            fleet.note_interruption()
            raise
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise LaunchError(
                f"The server cannot go on: {error.strerror}{where}. The same command goes on after "
                "the last complete round."
            ) from None
        finally:
            fleet.stop()


class ServerSupervisor:
    """Supervises all processes of one server."""

    def __init__(self, plan: Plan, listen: Listener | None) -> None:
        self._plan = plan
        self._store = Store(plan.directory)
        self._follow = EventTail(self._store.events, listen)
        self._backend = FlowerProcesses(plan)
        self._front: Child | None = None
        self._front_settings: Nginx | None = None
        self._reloading = Reloader(plan, self._follow.tell)
        self._tries = self._progress = 0
        self._before = self._stamp()

    def run(self) -> Summary:
        """Start all processes and watch them until the run is finished."""
        # One that was killed may have left a front that is just ending.
        wait_for_port(self._plan.address, LEAVE_SECONDS)
        self._follow.tell(f"Starting; logs are in {self._plan.logs}.")
        for note in self._plan.notes:
            self._follow.tell(note)
        self._backend.start()
        self._open_front()
        self._follow.tell(f"Clients can connect to {self._plan.address}.")
        while True:
            self._follow.drain()
            status = None if self._mend() else self._backend.status()
            if status is not None:
                summary = self._settle(status)
                if summary is not None:
                    return summary
            self._reload()
            self._trim()
            time.sleep(TICK)

    def stop(self) -> None:
        """Stop all processes in order."""
        if self._front is not None:
            self._front.kill()  # while it starts it may sleep through any other signal
            self._front = None
        self._backend.stop()
        self._follow.drain()

    def note_interruption(self) -> None:
        """Say in the run's summary that it was stopped."""
        # A ServerApp that was killed is just ending.
        with contextlib.suppress(FedSafeError), self._store.lock(patience=LEAVE_SECONDS):
            summary = self._store.summary()
            if summary is not None and summary.status == "running":
                changes = {"status": "interrupted", "reason": "stopped by the user"}
                self._store.write_summary(summary.model_copy(update=changes))

    def _open_front(self) -> None:
        plan = self._plan
        if not plan.fronted:
            return
        front = Nginx(
            listen=plan.address,
            upstream=self._backend.address,
            state=plan.state,
            logs=plan.logs,
            tls=plan.tls,
            inside=self._backend.inside,
            keys=tuple(one.key for one in plan.keys),
            listed=plan.allow is not None,
        )
        self._front_settings = front
        self._front = front.child()
        self._front.start()

    def _reload(self) -> None:
        """Have changed keys and certificates take effect."""
        front = None
        if self._front is not None and self._front_settings is not None:
            front = (self._front_settings, self._front)
        try:
            changed = self._reloading.look(self._backend, front)
        except LaunchError as error:
            self._follow.tell(str(error))
        else:
            self._front_settings = changed or self._front_settings

    def _mend(self) -> bool:
        """Restart processes that ended; return whether Flower's processes did.

        Raises:
            LaunchError: It ended too often.
        """
        if self._front is not None and not self._front.alive:
            self._again(f"{self._front.name} {self._front.exit_description()}")
            self._front.start()
        ended = self._backend.ended()
        if not ended:
            return False
        self._again(ended)
        self._backend.kill()
        self._before = self._stamp()
        try:
            self._backend.start()
        except LaunchError as error:  # it counts as one more end
            self._follow.tell(str(error))
            self._backend.kill()
        return True

    def _settle(self, status: Status) -> Summary | None:
        """Return the summary of a run that is done; None if it was submitted again.

        Raises:
            RunError: It failed, in a way that would only repeat itself.
            LaunchError: Its process died too often.
        """
        self._follow.drain()
        summary = self._store.summary()
        if summary is not None and summary.status == "completed":
            return summary
        if summary is not None and summary.status == "failed" and self._stamp() != self._before:
            raise RunError(summary.reason)
        if status.details.startswith(RAISED):
            raise RunError(status.details.removeprefix(RAISED))
        self._again(f"the ServerApp ended: {status.details or status.outcome}")
        self._before = self._stamp()
        self._backend.submit()
        return None

    def _again(self, reason: str) -> None:
        """Tell the operator that something is started again.

        Raises:
            LaunchError: It does not help.
        """
        if self._follow.progress > self._progress:
            self._progress, self._tries = self._follow.progress, 0
        self._tries += 1
        reason = reason[0].upper() + reason[1:].rstrip(".")
        if self._tries > TRIES:
            raise LaunchError(
                f"{reason}. It was started {TRIES} times with no round in between; see "
                f"{self._plan.logs}. The same command goes on after the last complete round."
            )
        self._follow.tell(f"{reason}. Starting it again.")
        time.sleep(min(2.0 ** (self._tries - 2), 10.0) if self._tries > 1 else 0.0)

    def _stamp(self) -> tuple[int, int]:
        """Return what changes whenever summary.json is written."""
        try:
            file_status = (self._plan.directory / RunFile.SUMMARY).stat()
        except OSError:
            return (0, 0)
        return (file_status.st_mtime_ns, file_status.st_ino)

    def _trim(self) -> None:
        """Rotate large logs, so that they do not fill the disk."""
        for log in self._plan.logs.glob("*.log"):
            if log.stat().st_size > LARGEST_LOG:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)  # whoever writes to it appends

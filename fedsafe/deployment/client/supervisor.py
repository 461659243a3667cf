"""Client supervisor: restarts the worker and the nodes, and reports to the operator."""

import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fedsafe.deployment.child_processes import Child, signal_group, wait_until
from fedsafe.deployment.client.log_events import LogEvents, LogFollower, Tell
from fedsafe.deployment.restarts import RestartingChild, how_it_ended
from fedsafe.errors import LaunchError

TICK = 0.5
"""Seconds between two looks at the children."""
ASK = 10.0
"""Seconds between two questions to the trainer whether it is well."""
SILENCE = 60.0
"""Seconds without an answer after which a trainer counts as hung."""
START = 120.0
"""Longest time for a trainer to listen at first, seconds."""


class Supervisor:
    """All processes of one `fedsafe client`.

    Args:
        socket: Where the trainer listens.
        trainer: The trainer's process; None: another `fedsafe client` keeps it.
        members: The nodes that give it work.
        tell: Told what happens, an event a change.
        once: Whether it ends with the server's rounds.
    """

    def __init__(
        self,
        socket: Path,
        trainer: Child | None,
        members: Sequence["NodeProcess"],
        tell: Tell,
        *,
        once: bool = False,
    ) -> None:
        self._trainer = WorkerProcess(socket, trainer, tell)
        self._members, self._once = members, once

    def run(self) -> None:
        """Start everything, and watch it until interrupted, or until it is not needed.

        Raises:
            LaunchError: A part cannot be started at all.
            KeyboardInterrupt: It was told to end.
        """
        self._trainer.start()
        for member in self._members:
            member.kept.start()
        while not (self._once and self._dismissed()):
            time.sleep(TICK)
            self._trainer.look()
            for member in self._members:
                member.look()
        time.sleep(TICK)  # the server hears that they have heard

    def _dismissed(self) -> bool:
        """Return whether every client that ever connected was told that the rounds are over."""
        heard = [member.heard for member in self._members if member.heard.connected]
        return bool(heard) and all(one.dismissed for one in heard)

    def stop(self) -> None:
        """Stop all processes, the nodes first, so that the server sees them leave at once.

        A second interrupt ends it without waiting.
        """
        children = [member.kept.child for member in self._members]
        everyone = [*children, *([self._trainer.child] if self._trainer.child else [])]
        try:
            with ThreadPoolExecutor(max(1, len(children))) as pool:
                list(pool.map(_end, children))
            if self._trainer.child is not None:
                self._trainer.child.stop()
        finally:
            for child in everyone:
                child.kill()


def _end(child: Child) -> None:
    """Ask a child and all that it started to end, and make them if they do not."""
    if child.alive and child.pid is not None:
        signal_group(child.pid, signal.SIGTERM)
        child.stop()


class WorkerProcess:
    """The resident worker: our own child process, or an external one."""

    def __init__(self, socket: Path, child: Child | None, tell: Tell) -> None:
        self.child = child
        self._socket, self._tell = socket, tell
        self._kept = None if child is None else RestartingChild(child, self._died)
        self._asked = self._heard = time.monotonic()
        self._gone = False

    def start(self) -> None:
        """Start the worker, if it is our own child, and wait until it listens.

        Raises:
            LaunchError: It does not start.
        """
        if self._kept is None or self.child is None:
            return
        child = self.child
        self._socket.unlink(missing_ok=True)  # of one that was killed
        self._kept.start()
        if not wait_until(lambda: self._answers() or not child.alive, START) or not child.alive:
            raise LaunchError(
                f"The trainer did not start: {child.last_log_line()} See {child.log}."
            )
        self._heard = time.monotonic()

    def look(self) -> None:
        """Check that the worker is alive, and from time to time that it answers."""
        if self._kept is not None:
            self._kept.look()
        now = time.monotonic()
        if now - self._asked < ASK:
            return
        if self._answers():
            self._heard = time.monotonic()
            if self._gone:
                self._tell("trainer-back", "the trainer answers again")
            self._gone = False
        elif self.child is None:
            self._miss()
        elif now - self._heard > SILENCE and self.child.alive:
            self._tell("trainer-hung", f"the trainer has not answered for {SILENCE:.0f} s")
            self.child.kill()
        self._asked = time.monotonic()

    def _answers(self) -> bool:
        from clients.worker.worker_client import probe as ask

        return ask(self._socket, patience=2.0) is not None

    def _miss(self) -> None:
        if not self._gone:
            self._gone = True
            self._tell(
                "trainer-died",
                f"no trainer answers on {self._socket}; the `fedsafe client` that keeps it must "
                "run for this one to work",
            )

    def _died(self, pause: float) -> None:
        assert self.child is not None
        self._heard = time.monotonic() + pause
        self._tell(
            "trainer-died",
            f"the trainer died: {how_it_ended(self.child)}. {_again(pause)} The end of its log: "
            f"{self.child.last_log_line()}",
        )


class NodeProcess:
    """One SuperNode process and the events of its log."""

    def __init__(self, name: str, child: Child, tell: Tell) -> None:
        self._name, self._tell = name, tell
        self._follower, self.heard = LogFollower(child.log), LogEvents(name, tell)
        self.kept = RestartingChild(child, self._died)

    def look(self) -> None:
        """Read its new log lines, and check that it is alive."""
        for line in self._follower.lines():
            self.heard.hear(line)
        self.kept.look()

    def _died(self, pause: float) -> None:
        child = self.kept.child
        self._tell(
            "node-died",
            f"the node ended: {how_it_ended(child)}. {_again(pause)} The end of its log: "
            f"{child.last_log_line()}",
            name=self._name,
        )


def _again(pause: float) -> str:
    return f"Starting again in {pause:.0f} s." if pause else "Starting again."

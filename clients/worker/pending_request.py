"""One who came to the resident trainer, and waits for its work to be done.

Hears a sign of life every few seconds; the work of one who is gone is dropped.
"""

import contextlib
import logging
import select
import socket
import threading
from collections.abc import Callable

from clients.node_config import NodeConfig
from clients.worker import protocol
from clients.worker.protocol import Header
from clients.worker.result import Arrays, TrainResult
from fedsafe.errors import FedSafeError
from fedsafe.messages import Job

log = logging.getLogger(__name__)


class Abandoned(Exception):  # noqa: N818 - the asker's choice, not an error
    """The asker hung up."""


class PendingRequest:
    """One who waits for its work to be done."""

    def __init__(
        self, connection: socket.socket, job: Job, site: NodeConfig, arrays: Arrays
    ) -> None:
        self.job, self.site, self.arrays = job, site, arrays
        self.gone = threading.Event()
        """It hung up, or has its answer."""
        self._connection = connection
        self._step = 0
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return f"client {self.job.client}, {self.job.federation} round {self.job.round}"

    def progress(self, step: int) -> None:
        """Take note of a step done, or end the work of one who is gone."""
        self._step = step
        if self.gone.is_set():
            raise Abandoned

    def beat(self, waiting: int) -> None:
        """Give a sign of life; the first says that its work was taken."""
        self._tell(Header(kind="alive", step=self._step, waiting=waiting))

    def watch(self, waiting: Callable[[], int]) -> None:
        """Give signs of life until it hangs up or has its answer."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while not self.gone.is_set():
            if poll.poll(protocol.BEAT * 1000):
                self.gone.set()  # it hung up, or speaks out of turn
            else:
                self.beat(waiting())

    def done(self, trained: TrainResult) -> None:
        """Give it the result."""
        self._tell(Header(kind="done", metrics=trained.metrics), trained.arrays)
        self._dismiss()

    def fail(self, error: FedSafeError) -> None:
        """Give it an error."""
        self._tell(Header(kind="failed", error=type(error).__name__, message=str(error)))
        self._dismiss()

    def _tell(self, header: Header, arrays: Arrays | None = None) -> None:
        with self._lock:
            if self.gone.is_set():
                return
            try:
                protocol.send(self._connection, header, arrays)
            except OSError as error:
                log.warning("%s cannot be told: %s", self, error.strerror or error)
                self.gone.set()

    def _dismiss(self) -> None:
        self.gone.set()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

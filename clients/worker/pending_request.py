"""A training request that waits in the resident worker's queue.

Its client gets a heartbeat every few seconds; the job is dropped when it disconnects.
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


class Abandoned(Exception):  # noqa: N818 - the requester's choice, not an error
    """The requesting process closed its connection."""


class PendingRequest:
    """One request for training, and the connection on which its result is sent."""

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
        """Record a finished step; raise `Abandoned` if the requester has disconnected."""
        self._step = step
        if self.gone.is_set():
            raise Abandoned

    def beat(self, waiting: int) -> None:
        """Send a heartbeat; the first one acknowledges the request."""
        self._tell(Header(kind="alive", step=self._step, waiting=waiting))

    def watch(self, waiting: Callable[[], int]) -> None:
        """Send heartbeats until the requester disconnects or has its answer."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while not self.gone.is_set():
            if poll.poll(protocol.BEAT * 1000):
                self.gone.set()  # it hung up, or speaks out of turn
            else:
                self.beat(waiting())

    def done(self, trained: TrainResult) -> None:
        """Send the result and close the connection."""
        self._tell(Header(kind="done", metrics=trained.metrics), trained.arrays)
        self._dismiss()

    def fail(self, error: FedSafeError) -> None:
        """Send an error and close the connection."""
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

"""Resident training worker: keeps the base model loaded and runs clients' jobs in turn.

Thin ClientApps of one machine come with jobs on a Unix socket; one job is done at a
time, the others wait. Who waits hears a sign of life every few seconds; the work of one
who is gone is dropped at the next step. `fedsafe.deployment.client.worker_process` starts it.
"""

import contextlib
import importlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pydantic import ValidationError

from clients.local_training import work
from clients.node_config import NodeConfig
from clients.worker import protocol
from clients.worker.pending_request import Abandoned, PendingRequest
from clients.worker.protocol import Header
from clients.worker.result_cache import ResultCache
from clients.worker.unix_socket import private_socket
from fedsafe.errors import FedSafeError, RunError, TransientError
from fedsafe.messages import Job

log = logging.getLogger(__name__)
MOST_ASKERS = 256
HEAVY = ("torch", "transformers", "peft")
"""Imported while the first job is still on its way."""


class Stopped(BaseException):
    """Shutdown was requested; a BaseException, so that no ``except Exception`` stops it."""


class Worker:
    """Accepts training requests and runs them one at a time in the main thread."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._queue: SimpleQueue[PendingRequest | None] = SimpleQueue()
        self._requests: list[PendingRequest] = []
        self._places = threading.BoundedSemaphore(MOST_ASKERS)
        self._finished = ResultCache()
        self._stopping = self._interruptible = False
        self._code = 0

    def run(self) -> int:
        """Serve requests until SIGTERM or SIGINT; return the exit code."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        threading.Thread(target=self._listen, daemon=True).start()
        with contextlib.suppress(Stopped):
            self._endable(lambda: [importlib.import_module(name) for name in HEAVY])
            while not self._stopping:
                request = self._queue.get()
                if request is not None and not request.gone.is_set():
                    self._turn(request)
        for request in list(self._requests):
            request.fail(TransientError(f"The trainer was shut down before it had done {request}."))
        return self._code

    def _stop(self, *_: object) -> None:
        """Signal handler: interrupt the running job, or stop before the next one."""
        if not self._stopping:
            self._stopping = True
            self._queue.put(None)
            if self._interruptible:
                raise Stopped

    def _endable(self, call: Callable[[], Any]) -> Any:
        """Run a call that a shutdown signal may interrupt."""
        self._interruptible = True
        try:
            if self._stopping:
                raise Stopped
            return call()
        finally:
            self._interruptible = False

    def _turn(self, request: PendingRequest) -> None:
        """Run one request and answer it with the result or the error."""
        begun = time.perf_counter()

        def progress(step: int) -> None:
            if self._stopping:  # should a library have caught what the signal raised
                raise Stopped
            request.progress(step)

        asked = (request.job, request.arrays, request.site)
        if (found := self._finished.find(*asked)) is not None:
            request.done(found)
            log.info("%s: was done before, and is sent again.", request)
            return
        try:
            trained = self._endable(lambda: work(*asked, progress))
        except Abandoned:
            log.info("%s: the requester is gone; its job was dropped.", request)
        except FedSafeError as error:
            log.warning("%s: %s", request, error)
            request.fail(error)
        except Exception as error:
            log.exception("%s", request)
            request.fail(self._unforeseen(error))
        else:
            self._finished.keep(*asked, trained)
            request.done(trained)
            log.info("%s: done in %.1f s.", request, time.perf_counter() - begun)

    def _unforeseen(self, error: Exception) -> FedSafeError:
        """Convert an unexpected exception; its own text is left out, as it may quote data."""
        kind = type(error).__name__
        if kind == "AcceleratorError" or "CUDA error" in str(error):
            self._stopping, self._code = True, 1  # no later work can use this process's device
            return TransientError(f"The device failed ({kind}); the trainer starts anew.")
        return RunError(f"The trainer failed with {kind}. The log on its machine says more.")

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._stopping:
                    return
                log.warning("A connection could not be taken: %s", error.strerror)
                time.sleep(protocol.BEAT)
                continue
            if self._places.acquire(blocking=False):
                threading.Thread(target=self._meet, args=(connection,), daemon=True).start()
            else:
                connection.close()

    def _meet(self, connection: socket.socket) -> None:
        """Handle one connection: a training request or a status probe."""
        with connection:
            try:
                self._hear(connection)
            except FedSafeError as error:
                log.warning("Refused: %s", error)
                with contextlib.suppress(OSError):
                    failed = Header(kind="failed", error="RunError", message=str(error))
                    protocol.send(connection, failed)
            except (OSError, EOFError) as error:
                log.info("A connection was closed by its client: %s", error or "it hung up.")
            except Exception:  # a fault here ends one connection; the trainer's log has its trace
                log.exception("A connection failed.")
            finally:
                self._places.release()

    def _hear(self, connection: socket.socket) -> None:
        if protocol.peer(connection) != os.geteuid():
            raise RunError("This trainer works for the user who started it, and no other.")
        connection.settimeout(protocol.REQUEST_SECONDS)
        header, arrays = protocol.receive(connection)
        if header.kind == "ask":
            alive = Header(kind="alive", pid=os.getpid(), waiting=len(self._requests))
            protocol.send(connection, alive)
            return
        try:
            site = NodeConfig.model_validate_json(header.site)
        except ValidationError:
            raise RunError(
                "The message on the trainer's socket says nothing of its site."
            ) from None
        request = PendingRequest(connection, Job.parse(header.job), site, arrays)
        self._requests.append(request)
        try:
            request.beat(len(self._requests))
            self._queue.put(request)
            request.watch(lambda: len(self._requests))
        finally:
            self._requests.remove(request)


def serve(path: Path) -> int:
    """Run a worker on a Unix socket until SIGTERM or SIGINT; return the exit code.

    Raises:
        LaunchError: A trainer is there already, or the socket cannot be made.
    """
    with private_socket(path) as listener:
        log.info("Trainer %d listens on %s.", os.getpid(), path)
        return Worker(listener).run()

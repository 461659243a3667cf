"""IPC client of the resident worker: submit a training job and wait for its result.

Imports no model library: this runs in a client's node, which is small, and under Flower's
own SuperNode in a process of one message.
"""

import os
import socket
import time
from pathlib import Path

from clients.node_config import NodeConfig
from clients.worker import protocol
from clients.worker.protocol import Header
from clients.worker.result import Arrays, TrainResult
from fedsafe import errors
from fedsafe.errors import FedSafeError, RunError, TransientError
from fedsafe.messages import Job

PATIENCE = 15.0
"""Seconds to wait for a trainer that is not there: it may be on its way up again."""
PAUSE = 0.1


def request_training(
    site: NodeConfig, job: Job, arrays: Arrays, *, patience: float = PATIENCE
) -> TrainResult:
    """Submit one client's training job to the resident worker and wait for the result.

    Gives up when the trainer dies, when it shows no sign of life for ``site.silence``
    seconds, and when the round's deadline has passed; hanging up ends the work there.

    Raises:
        TransientError: The trainer is not there, died, is silent or too slow.
        FedSafeError: What the work itself raised in the trainer.
    """
    begun = time.monotonic()
    asked = Header(kind="work", job=job.model_dump_json(), site=site.model_dump_json())
    while True:
        with _connected(site.socket, begun + patience - time.monotonic()) as connection:
            if _taken(connection, site, job, asked, arrays):
                return _result(connection, site, job, begun + job.deadline)
        if time.monotonic() - begun > patience:
            raise TransientError(
                f"The trainer on {site.socket} takes no work: it hangs up as soon as it is asked. "
                "See its log."
            )
        time.sleep(PAUSE)


def probe(path: Path, *, patience: float = 5.0) -> Header | None:
    """Return a worker's status (pid, queue length), or None if it does not answer."""
    try:
        with _connected(path, patience=0.0) as connection:
            connection.settimeout(patience)
            protocol.send(connection, Header(kind="ask"))
            return protocol.receive(connection)[0]
    except (FedSafeError, OSError, EOFError):
        return None


def _taken(
    connection: socket.socket, site: NodeConfig, job: Job, asked: Header, arrays: Arrays
) -> bool:
    """Send the job; False if the worker closed the connection without accepting it."""
    connection.settimeout(min(protocol.REQUEST_SECONDS, site.silence))
    try:
        protocol.send(connection, asked, arrays)
        header, _ = protocol.receive(connection)
    except (EOFError, ConnectionError):
        return False
    except TimeoutError:
        raise _silent(site, job, 0) from None
    except OSError as error:
        raise TransientError(
            f"The work of {_which(job)} could not be handed to the trainer: {error.strerror}. "
            "Look at the memory that is left."
        ) from None
    if header.kind == "failed":
        raise _error(header)
    return True


def _result(connection: socket.socket, site: NodeConfig, job: Job, deadline: float) -> TrainResult:
    """Wait for the result, with a timeout on heartbeats and the round's deadline."""
    step = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TransientError(
                f"The trainer did {step} of {job.training.steps} steps of {_which(job)} "
                f"in the {job.deadline:g} s that the server waits. Raise "
                "federation.deadline, or lower training.steps."
            )
        connection.settimeout(min(left, site.silence))
        try:
            header, arrays = protocol.receive(connection)
        except TimeoutError:
            if time.monotonic() >= deadline:
                continue
            raise _silent(site, job, step) from None
        except (EOFError, ConnectionError):
            raise TransientError(
                f"The trainer died after {step} of {job.training.steps} steps of "
                f"{_which(job)}. `fedsafe client` starts it again; its log may say why it died."
            ) from None
        if header.kind == "done":
            return TrainResult(arrays, header.metrics)
        if header.kind == "failed":
            raise _error(header)
        step = header.step


def _silent(site: NodeConfig, job: Job, step: int) -> TransientError:
    return TransientError(
        f"The trainer has shown no sign of life for {site.silence:g} s, after {step} steps of "
        f"{_which(job)}. It hangs, or the machine is short of memory; see its log."
    )


def _error(header: Header) -> FedSafeError:
    """Rebuild the worker's error by its class name; a RunError for an unknown class."""
    kind = getattr(errors, header.error, RunError)
    known = isinstance(kind, type) and issubclass(kind, FedSafeError)
    return kind(header.message) if known else RunError(header.message)


def _connected(path: Path, patience: float) -> socket.socket:
    """Connect to a worker that runs as this user.

    Raises:
        TransientError: There is none, after so many seconds.
        RunError: The socket is another user's.
    """
    deadline = time.monotonic() + patience
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
            break
        except OSError as error:
            connection.close()
            if time.monotonic() >= deadline:
                raise TransientError(
                    f"No trainer answers on {path} ({error.strerror or error}). `fedsafe client` "
                    "starts one and keeps it running; see its log."
                ) from None
        time.sleep(PAUSE)
    if protocol.peer(connection) != os.geteuid():
        connection.close()
        raise RunError(
            f"The trainer on {path} belongs to another user. Run `fedsafe client` as the user "
            "whose socket it is, or give it a state directory of its own."
        )
    return connection


def _which(job: Job) -> str:
    return f"client {job.client}'s round {job.round}"

"""IPC protocol between ClientApp and resident worker: JSON frames on a Unix socket.

A frame is its length, a JSON header and, where it carries arrays, the descriptor of a
file in memory that holds them (`clients.worker.shared_memory`). Nothing is pickled.
"""

import json
import os
import socket
import struct
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from clients.worker.result import Arrays
from clients.worker.shared_memory import ArrayLayout, Count, share, views
from fedsafe.errors import RunError
from fedsafe.validation_errors import first_of

VERSION = 1
LENGTH = struct.Struct("!I")
LONGEST_HEADER = 4 << 20
"""Bytes; the names of a hundred thousand tensors still fit."""
BEAT = 2.0
"""Seconds between two signs of life to one who waits."""
REQUEST_SECONDS = 30.0
"""Longest wait for the next part of a frame that has begun, and for room to send one."""


class Header(BaseModel):
    """Header of a frame: everything except the array data."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    version: int = VERSION
    kind: Literal["work", "ask", "alive", "done", "failed"]
    """From the requester: ``work`` or ``ask`` (status). From the worker: the others."""
    job: str = ""
    """A `fedsafe.messages.Job` as JSON."""
    site: str = ""
    """A `clients.node_config.NodeConfig` as JSON."""
    step: Count = 0
    """Optimizer steps done for this request."""
    waiting: Count = 0
    """Requests that are not done."""
    pid: Count = 0
    metrics: dict[str, int | float] = {}
    error: str = ""
    """Name of the error's class."""
    message: str = ""
    """The error's sentence."""
    places: tuple[ArrayLayout, ...] | None = None


def send(connection: socket.socket, header: Header, arrays: Arrays | None = None) -> None:
    """Send one frame.

    Raises:
        RunError: The header is too long.
        OSError: The other side is gone, does not read, or memory is short.
    """
    file = None
    if arrays is not None:
        places, file = share(arrays)
        header = header.model_copy(update={"places": places})
    try:
        body = header.model_dump_json().encode()
        if len(body) > LONGEST_HEADER:
            raise RunError(
                f"A message to or from the trainer takes {len(body)} bytes, more than "
                f"{LONGEST_HEADER}. Use fewer adapter.targets or a shorter experiment."
            )
        socket.send_fds(connection, [LENGTH.pack(len(body))], [] if file is None else [file])
        connection.sendall(body)
    finally:
        if file is not None:
            os.close(file)


def receive(connection: socket.socket) -> tuple[Header, Arrays]:
    """Receive one frame; its arrays are read-only views of shared memory.

    Raises:
        EOFError: The other side hung up.
        TimeoutError: It is silent for longer than the connection's timeout.
        RunError: This is no frame, or one of another version.
    """
    begin, files, _, _ = socket.recv_fds(connection, LENGTH.size, 1)
    try:
        for file in files:
            os.set_inheritable(file, False)
        begin += _exactly(connection, LENGTH.size - len(begin)) if begin else b""
        if not begin:
            raise EOFError
        (length,) = LENGTH.unpack(begin)
        if length > LONGEST_HEADER:
            raise RunError(
                f"What came on the trainer's socket is no message of FedSafe: {length} bytes are "
                f"announced, {LONGEST_HEADER} are allowed."
            )
        header = _parse(_exactly(connection, length))
        if header.places is None:
            return header, {}
        if not files:
            raise RunError("A message on the trainer's socket has arrays, but no memory with them.")
        return header, views(files[0], header.places)
    finally:
        for file in files:
            os.close(file)


def peer(connection: socket.socket) -> int:
    """Return the peer process's user id (``SO_PEERCRED``)."""
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    return int(struct.unpack("3i", credentials)[1])


def _parse(body: bytes) -> Header:
    """Parse a header; check its protocol version first."""
    try:
        fields = json.loads(body)
        version = fields["version"]
        if version != VERSION:
            raise RunError(
                f"The other side of the trainer's socket speaks version {version!r:.20} of its "
                f"protocol; this one speaks {VERSION}. Restart `fedsafe client`, so that both are "
                "of the same FedSafe."
            )
        return Header.model_validate(fields)
    except ValidationError as error:
        reason = first_of(error)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = type(error).__name__
    raise RunError(f"What came on the trainer's socket is no message of FedSafe ({reason}).")


def _exactly(connection: socket.socket, count: int) -> bytes:
    """Receive exactly ``count`` bytes."""
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)

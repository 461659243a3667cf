"""Private Unix socket of the resident worker: one worker a path, one user."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedsafe.errors import LaunchError
from fedsafe.runs.files import flock

LONGEST_PATH = 107
"""Bytes that the kernel takes for the path of a Unix socket."""
BACKLOG = 128


@contextmanager
def private_socket(path: Path) -> Iterator[socket.socket]:
    """Yield a listening socket (0600, in a directory 0700), and remove it in the end.

    A file beside it is locked as long; the lock ends with this process however it ends,
    so that a socket that is there without it is a dead trainer's and is replaced.

    Raises:
        LaunchError: A trainer is there already, or the socket cannot be made.
    """
    path = path.absolute()
    _check(path)

    def taken(holder: str) -> LaunchError:
        return LaunchError(
            f"A trainer (process {holder}) is at work on {path} already. Stop that one first, or "
            "choose another socket."
        )

    try:
        lock = flock(path.with_suffix(".lock"), taken)
    except OSError as error:
        raise LaunchError(
            f"No trainer can be started in {path.parent}: {error.strerror}."
        ) from None
    with lock, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        before = os.umask(0o177)
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _check(path: Path) -> None:
    """Check that the socket's directory is private to this user."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise LaunchError(
            f"The path of the trainer's socket has {len(os.fsencode(path))} bytes; the system "
            f"takes {LONGEST_PATH}: {path}. Choose a shorter directory."
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        parent = path.parent.stat()
        there = path.lstat().st_mode if os.path.lexists(path) else stat.S_IFSOCK
    except OSError as error:
        raise LaunchError(
            f"No trainer can be started in {path.parent}: {error.strerror}."
        ) from None
    if parent.st_uid != os.geteuid() or parent.st_mode & 0o077:
        raise LaunchError(
            f"Others can enter {path.parent}, where the trainer's socket is to be: it has mode "
            f"{stat.S_IMODE(parent.st_mode):04o} and belongs to user {parent.st_uid}. "
            "Make it yours alone (chmod 700), or choose another directory."
        )
    if not stat.S_ISSOCK(there):
        raise LaunchError(f"{path} is there and is no socket. Remove it, or choose another path.")

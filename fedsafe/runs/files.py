"""Atomic file writes (write aside, fsync, rename), file locks and digests.

A full disk is a sentence, and leaves what was there as it was. Knows nothing of what
is in them.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from fedsafe.errors import FedSafeError, RunError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Disk full, quota used up, file larger than the system lets it be."""


def private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file that, where it is made by this, only its owner can read: an ``opener``."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def private_directory(path: Path) -> Path:
    """Make a directory that only its owner can enter, with those above it; return it.

    One that is there stays as it is.
    """
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
    if not missing and not path.is_dir():
        path.mkdir()  # says in its own words why it cannot be one
    return path


@contextmanager
def disk_space_for(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn a full-disk error in the block into a `RunError` that names the free space.

    Args:
        path: What is written.
        needed: Bytes that it takes, where that is known.

    Raises:
        RunError: There was no room.
    """
    try:
        yield
    except Exception as error:
        if not _no_room(error):
            raise
        free = shutil.disk_usage(_there(path)).free
        wanted = f"about {needed / 1e6:.1f} MB are needed and " if needed else ""
        raise RunError(
            f"There is no room to write {path}: {wanted}{free / 1e6:.1f} MB are free. Make room, "
            "and start again with the same command: it goes on after the last complete round."
        ) from None


def _no_room(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    told = str(error)  # safetensors has an error of its own, with the system's in its text
    return any(f"os error {number}" in told for number in NO_ROOM)


def _there(path: Path) -> Path:
    """Return the nearest directory above a path that exists."""
    return next((parent for parent in path.absolute().parents if parent.is_dir()), Path("/"))


def write_text(path: Path, text: str) -> None:
    """Replace a file's text in one step, as `write_bytes` does.

    Raises:
        RunError: The disk is full; the file is as it was.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step, so that no reader ever sees half of it; it is made 0600.

    Raises:
        RunError: The disk is full; the file is as it was.
    """
    private_directory(path.parent)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)  # a killed process of the same number may have left it
    try:
        with disk_space_for(path, len(content)), open(aside, "xb", opener=private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Replace a file by this value as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_lines(path: Path, rows: list[Any]) -> None:
    """Replace a file by one JSON value a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_lines(path: Path) -> list[Any]:
    """Return the JSON value of each line; none when there is no file.

    A last line without its end, as a crash leaves it, is passed over.
    """
    if not path.is_file():
        return []
    whole = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in whole if line.strip()]


def append_line(path: Path, row: Any, *, flush: bool = True) -> None:
    """Add one JSON value as a line, by default flushed to the disk; what is no JSON is its text.

    Raises:
        RunError: The disk is full; no part of the line is in the file.
    """
    line = (json.dumps(row, ensure_ascii=False, default=str) + "\n").encode(
        errors="backslashreplace"
    )
    with disk_space_for(path, len(line)), open(path, "a+b", buffering=0, opener=private) as file:
        _cut_half_line(file)
        begin = file.seek(0, os.SEEK_END)
        try:
            while line:
                line = line[file.write(line) :]
            if flush:
                os.fsync(file.fileno())
        except OSError:
            file.truncate(begin)
            raise


def _cut_half_line(file: IO[bytes]) -> None:
    """Remove a last line without its end, which a crash left: it would spoil the next one."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - 2**16)
        newline = os.pread(file.fileno(), end - begin, begin).rfind(b"\n")
        if newline >= 0:
            end = begin + newline + 1
            break
        end = begin
    if end < file.seek(0, os.SEEK_END):
        file.truncate(end)


@contextmanager
def whole_directory(path: Path, needed: int = 0) -> Iterator[Path]:
    """Yield a directory to fill; it takes its name only when the block ends well.

    Args:
        path: The directory.
        needed: Bytes that will be written into it, where that is known.

    Raises:
        RunError: The disk is full; what had the name before is as it was.
    """
    private_directory(path.parent)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with disk_space_for(path, needed):
            aside.mkdir(mode=0o700)
            yield aside
            for file in aside.rglob("*"):
                file.chmod(0o700 if file.is_dir() else 0o600)
                if file.is_file():
                    with file.open("rb") as opened:
                        os.fsync(opened.fileno())
        shutil.rmtree(path, ignore_errors=True)
        aside.rename(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def flock(path: Path, taken: Callable[[str], FedSafeError], *, patience: float = 0.0) -> TextIO:
    """Acquire an exclusive file lock, held until the returned file is closed.

    The system frees it however this process ends.

    Args:
        path: The file, 0600; it keeps the holder's process id.
        taken: Makes the error of it that another process, so named, holds the file.
        patience: Seconds to wait for another process to let go.

    Raises:
        FedSafeError: What ``taken`` made.
        OSError: The file cannot be written.
    """
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    if not _locked(file, patience):
        with file:
            raise taken(file.read().strip() or "unknown")
    try:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    except OSError:
        file.close()
        raise
    return file


def _locked(file: TextIO, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.2)
        else:
            return True


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes, as hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(*parts: object) -> str:
    """Return the sha256 of values' texts, as hexadecimal digits."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()

"""Files that another program's writer fills: private, and in place only when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedsafe.errors import RunError
from fedsafe.runs.files import disk_space_for, private_directory


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write beside this one; it takes its place when the block ends.

    Only its owner can read it.

    Raises:
        RunError: The disk is full, or the directory cannot be made; the file is as it was.
    """
    try:
        private_directory(path.parent)
    except OSError as error:
        raise RunError(f"{path.parent}: the directory cannot be made ({error.strerror}).") from None
    aside = path.with_name(f".{os.getpid()}.{path.name}")  # with its suffix, which writers look at
    try:
        with disk_space_for(path):
            os.close(os.open(aside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            yield aside
        aside.chmod(0o600)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)

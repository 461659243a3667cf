"""Finished stages at an address that fsspec reaches, such as ``s3://bucket/study``.

Machines that share no file system hand finished stages to each other through it. What is not
finished stays on its machine: where that is lost, the stage is begun anew elsewhere.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from fedsafe.errors import ConfigError, RunError, reason_of
from fedsafe.matrix.work import Task
from fedsafe.models.files import cache_directory
from fedsafe.pipeline.stage_store import MANIFEST, StageStore
from fedsafe.runs.files import digest, private_directory, whole_directory
from fedsafe.runs.matrix_records import WORK

TRIAL: Final = ".fedsafe"
"""File that is written and read to see whether an address can be used."""


class RemoteStages(StageStore):
    """Finished stages in a directory, each also kept at an address.

    Args:
        address: Where, as fsspec takes it.
        directory: Copies on this machine.

    Raises:
        ConfigError: fsspec knows no such kind of address, or lacks the package for it.
    """

    def __init__(self, address: str, directory: Path) -> None:
        super().__init__(directory)
        self._address = address
        try:
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"--results {address} cannot be used: {reason_of(error, 200)}. Write an address "
                "that fsspec takes, such as s3://bucket/study, and install the package that it "
                "needs, here and on each machine."
            ) from None

    def check(self) -> None:
        """See that something can be written at the address, and read again.

        Raises:
            RunError: It cannot.
        """
        with self._reached():
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(f"{self._root}/{TRIAL}", b"fedsafe")
            self._files.cat_file(f"{self._root}/{TRIAL}")

    def put(self, key: str, home: Path, files: Iterable[str] | None = None, **notes: Any) -> None:
        """Keep a finished stage here and at the address; its manifest is written last.

        Raises:
            RunError: The disk is full, or the address cannot be reached.
        """
        super().put(key, home, files, **notes)
        entry = self._entry(key)
        written = [str(path.relative_to(entry)) for path in entry.rglob("*") if path.is_file()]
        with self._reached():
            for name in sorted(written, key=lambda name: name == MANIFEST):
                target = f"{self._root}/{entry.name}/{name}"
                self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._files.put_file(str(entry / name), target)

    def fetch(self, key: str, home: Path) -> dict[str, Any] | None:
        """Copy a finished stage into a directory, from here or else from the address.

        Raises:
            RunError: The address cannot be reached.
        """
        entry = self._entry(key)
        if not (entry / MANIFEST).is_file():
            with self._reached():
                self._download(entry)
        return super().fetch(key, home)

    def _download(self, entry: Path) -> None:
        """Copy an entry from the address, if it is whole there; its bytes are compared later."""
        source = f"{self._root}/{entry.name}"
        if not self._files.exists(f"{source}/{MANIFEST}"):
            return
        listed = json.loads(self._files.cat_file(f"{source}/{MANIFEST}"))["files"]
        names = [name for name in listed if _is_inside(name)]
        with whole_directory(entry) as aside:
            for name in (*names, MANIFEST):
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(f"{source}/{name}", str(aside / name))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn whatever the address's package raises into a sentence."""
        try:
            yield
        except RunError:
            raise
        except Exception as error:  # noqa: BLE001 - each package has errors of its own
            raise RunError(
                f"--results {self._address} cannot be reached: {type(error).__name__}: "
                f"{reason_of(error, 200)}. See to the address, its rights and the connection, and "
                "give the same command again."
            ) from None


def on_this_machine(task: Task) -> Task:
    """Return a task whose directories are this machine's own, below the cache.

    Raises:
        OSError: The cache cannot be written.
    """
    root = cache_directory() / "matrix" / digest(task.results)[:16]
    private_directory(root)
    directory = root / WORK / Path(task.directory).name
    return replace(task, root=str(root), directory=str(directory))


def _is_inside(name: str) -> bool:
    """Tell whether a file's name in a manifest leads to below its own directory."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts

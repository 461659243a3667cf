"""Finished stages by key in a directory that several runs share: a stage is made only once.

What is damaged, or was made by other package versions, is passed over and made again.
Files that are never written in place are linked rather than copied: runs that share a stage
have its bytes on the disk once.
"""

import os
import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from fedsafe.errors import RunError
from fedsafe.runs.checksums import read_sealed, write_sealed
from fedsafe.runs.files import digest, file_digest, whole_directory
from fedsafe.runs.layout import RunFile
from fedsafe.runs.provenance import versions

MANIFEST = "stage.json"
APPENDED = frozenset({RunFile.ROUNDS})
"""Files that a run adds lines to; all others are replaced as a whole."""


class StageStore:
    """A directory of finished stages.

    Args:
        directory: Made when the first stage is put into it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, key: str, home: Path, files: Iterable[str] | None = None, **notes: Any) -> None:
        """Keep copies of a finished stage's files.

        Args:
            key: Of the stage.
            home: Directory that the files lie in.
            files: Their paths relative to it; None: all.
            **notes: JSON values to be returned with the stage.

        Raises:
            RunError: The disk is full.
        """
        if files is None:
            whole = (path for path in home.rglob("*") if path.is_file())
            files = (str(path.relative_to(home)) for path in whole)
        names = sorted(files)
        with whole_directory(self._entry(key)) as aside:
            for name in names:
                _copy(home / name, aside / name)
            digests = {name: file_digest(aside / name) for name in names}
            write_sealed(aside / MANIFEST, {"key": key, "files": digests, "notes": notes})

    def fetch(self, key: str, home: Path) -> dict[str, Any] | None:
        """Copy the files of a finished stage into a directory; return its notes.

        Returns:
            None where there is no such stage, or it is damaged.
        """
        entry = self._entry(key)
        try:
            manifest = read_sealed(entry / MANIFEST)
            files: dict[str, str] = manifest["files"]
            whole = manifest["key"] == key and all(
                file_digest(entry / name) == found for name, found in files.items()
            )
        except (RunError, OSError, KeyError):
            return None
        if not whole:
            return None
        for name in files:
            _copy(entry / name, home / name)
        return dict(manifest["notes"])

    def _entry(self, key: str) -> Path:
        return self._directory / f"{key[:32]}-{_made_by()[:8]}"


@cache
def _made_by() -> str:
    """Return the digest of the package versions of this process."""
    return digest(*sorted(versions().items()))


def _copy(source: Path, target: Path) -> None:
    """Link a file, or copy it where that cannot be done; with its mode, as a shield is secret."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if source.name not in APPENDED:
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without links
            pass
        else:
            return
    shutil.copy(source, target)

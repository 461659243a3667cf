"""Replies of judges on disk, by the digest of what was asked, in one SQLite file.

It holds digests and replies; neither requests nor keys.
"""

import sqlite3
from pathlib import Path
from threading import Lock
from typing import Any

from fedsafe.errors import RunError


class ReplyCache:
    """Replies by key; several threads may read and write.

    Raises:
        RunError: The file is no such cache, or cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, check_same_thread=False, timeout=60)
        except (OSError, sqlite3.Error) as error:
            raise self._broken(error) from None
        self._run("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply)")

    def __contains__(self, key: str) -> bool:
        return self._row(key) is not None

    def __getitem__(self, key: str) -> str:
        row = self._row(key)
        if row is None:
            raise KeyError(key)
        return str(row[0])

    def put(self, key: str, reply: str) -> None:
        """Keep a reply."""
        self._run("INSERT OR REPLACE INTO replies VALUES (?, ?)", key, reply)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _row(self, key: str) -> Any:
        return self._run("SELECT reply FROM replies WHERE key = ?", key)

    def _run(self, statement: str, *values: str) -> Any:
        try:
            with self._lock, self._base:
                return self._base.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> RunError:
        return RunError(f"cache: {self._path} is no cache of replies ({error}). Name another.")

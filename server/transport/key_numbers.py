"""Client numbers of a run's keys: once given, a number stays with its key.

Kept in the run directory, so that a list that was changed by hand, by removing a key or by
sorting it anew, renumbers nobody when the server starts again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path

from fedsafe.errors import RunError
from fedsafe.runs.files import read_lines, write_lines
from fedsafe.runs.layout import RunFile
from fedsafe.runs.store import Store
from server.transport.allowlist import Allowed


def fingerprint(key: bytes) -> str:
    """Return the sha256 of a public key, hexadecimal."""
    return sha256(key).hexdigest()


class KeyNumbers:
    """The numbers of one run's keys.

    Args:
        store: The run directory. What it says of clients that joined counts too: an earlier
            version kept no other record.

    Raises:
        RunError: The record cannot be read.
    """

    def __init__(self, store: Store) -> None:
        self._path = store.directory / RunFile.CLIENT_KEYS
        self._numbers = {one.key: one.client for one in store.members()}
        self._names = {one.client: one.name for one in store.members()}
        for number, name, key in _rows(self._path):
            self._numbers[key], self._names[number] = number, name

    @property
    def known(self) -> frozenset[int]:
        """Return the numbers that were given."""
        return frozenset(self._numbers.values())

    def number(self, key: bytes) -> int | None:
        """Return a key's number, or None if it never was on the list."""
        return self._numbers.get(fingerprint(key))

    def assign(self, keys: Sequence[Allowed]) -> tuple[Allowed, ...]:
        """Return listed keys with their numbers; new ones are numbered.

        A new key takes the number of the key that its name stood for, where that one is no
        longer listed: the client was given another key. Else it takes its place in the list,
        if no key ever had that number, or the lowest number that none had.
        """
        listed = {fingerprint(one.key) for one in keys}
        held = {number for key, number in self._numbers.items() if key in listed}
        by_name = {name: number for number, name in self._names.items() if number not in held}
        free = (number for number in count() if number not in self.known)
        assigned: list[Allowed] = []
        for one in keys:
            known = self.number(one.key)
            if known is None:
                known = by_name.pop(one.name, None) if one.name else None
            if known is None and one.number not in self.known:
                known = one.number
            if known is None or known in {other.number for other in assigned}:
                known = next(free)
            self._numbers[fingerprint(one.key)], self._names[known] = known, one.name
            assigned.append(replace(one, number=known))
        return tuple(assigned)

    def save(self) -> None:
        """Write the record.

        Raises:
            RunError: The disk is full.
        """
        rows = [
            {"number": number, "name": self._names.get(number, ""), "key": key}
            for key, number in sorted(self._numbers.items(), key=lambda item: item[1])
        ]
        if rows != read_lines(self._path):
            write_lines(self._path, rows)


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    try:
        for row in read_lines(path):
            yield int(row["number"]), str(row["name"]), str(row["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}, which says which key is which client, cannot be read "
            f"({type(error).__name__}: {error}). Restore it."
        ) from None

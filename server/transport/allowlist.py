"""The allow list: which SuperNode keys may join, in the order that first numbers the clients.

A directory of OpenSSH public keys (``*.pub``, in natural order of their names), or one
file with a key a line. ``@revoked`` before a key, as in OpenSSH's own lists, disables it
in place. `server.transport.key_numbers` keeps the numbers of a run.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedsafe.errors import ConfigError
from fedsafe.flower.internals import public_key_to_bytes, uses_nist_ec_curve

REVOKED = "@revoked"
"""What stands before a key that is disabled, as in OpenSSH's known_hosts."""
LOOK_SECONDS = 1.0
"""Shortest time between two looks at a list on disk."""


@dataclass(frozen=True)
class Allowed:
    """One listed key."""

    number: int
    """Client number; as read, the key's place in the list."""
    name: str
    """File name without its suffix, or the comment of its line."""
    line: str
    """The key as OpenSSH writes it."""
    key: bytes
    """The key as Flower names a node's ``public_key``: PEM, SubjectPublicKeyInfo."""
    revoked: bool = False
    """Whether it is disabled: its client keeps its number and may not take part."""


class AllowList:
    """An allow list on disk that is read again whenever it changes.

    Args:
        path: As for `read_allow`.
        clock: Seconds, for when to look at the file system again.

    Raises:
        ConfigError: As `read_allow`, at first; later what was known stays in force.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._signature = _signature(path)
        self._looked = clock()
        self._keys = read_allow(path)
        self.problem = ""
        """Why the list as it is now is not in force; empty: it is."""

    def read(self) -> tuple[Allowed, ...]:
        """Return the listed keys; look at the disk at most once in `LOOK_SECONDS`.

        A list that was emptied lets nobody in. One that is gone or has a mistake in it,
        as while it is being copied, is not taken: the keys stay as they were.
        """
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return self._keys
        self._looked = now
        signature = _signature(self._path)
        if signature != self._signature:
            self._signature = signature
            try:
                self._keys, self.problem = read_allow(self._path, may_be_empty=True), ""
            except ConfigError as error:
                self.problem = str(error)
        return self._keys


def _signature(path: Path) -> object:
    """Return what changes whenever a list is written."""
    try:
        files = sorted(path.glob("*.pub")) if path.is_dir() else [path]
        found = [(file.name, file.stat()) for file in files]
    except OSError:
        return None
    return [(name, one.st_mtime_ns, one.st_ino, one.st_size) for name, one in found]


def read_allow(path: Path, *, may_be_empty: bool = False) -> tuple[Allowed, ...]:
    """Read an allow list, in its order.

    Raises:
        ConfigError: It is not there or empty, a key is no elliptic-curve key of a NIST
            curve (what Flower signs with), or a key is listed twice.
    """
    found = [
        Allowed(number, name, line, _decode(line, where), revoked)
        for number, (name, where, line, revoked) in enumerate(_lines(path))
    ]
    if not found and not may_be_empty:
        raise ConfigError(
            f"{path} lists no client's key. Make keys with `fedsafe certs init`, and put each "
            "client's .pub file there."
        )
    seen: dict[bytes, str] = {}
    for one in found:
        if one.key in seen:
            raise ConfigError(
                f"{path} lists one key twice, as '{seen[one.key]}' and '{one.name}'. A key is one "
                "client; remove one of them."
            )
        seen[one.key] = one.name
    return tuple(found)


def _lines(path: Path) -> Iterator[tuple[str, str, str, bool]]:
    """Yield (name, where, key, whether it is revoked) of each key."""
    if path.is_dir():
        for file in sorted(path.glob("*.pub"), key=_natural):
            yield file.stem, str(file), *split_marker(_text(file, f"The public key {file}"))
        return
    for number, line in enumerate(_text(path, f"The allow list {path}").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            key, revoked = split_marker(line)
            words = key.split()
            name = words[2] if len(words) > 2 else f"line {number}"
            yield name, f"{path}, line {number}", key, revoked


def split_marker(line: str) -> tuple[str, bool]:
    """Return a line's key, and whether it is marked as revoked."""
    bare = line.strip()
    key = bare.removeprefix(REVOKED)
    return key.strip(), key != bare


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{what} cannot be read. Give a directory of .pub files, or a file with a key a line."
        ) from None


def _natural(file: Path) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]


def _decode(line: str, where: str) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not uses_nist_ec_curve(key):
        raise ConfigError(
            f"{where} is not an OpenSSH public key of a NIST elliptic curve. Make one with "
            "`fedsafe certs init` or `ssh-keygen -t ecdsa -b 384 -N ''`."
        )
    return public_key_to_bytes(key)

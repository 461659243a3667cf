"""The allow list: which SuperNode key is which client.

A directory of OpenSSH public keys (``*.pub``, in natural order of their names), or one
file with a key a line. A client's number is its key's place in the list, so a client
keeps it whatever machine, address or session it comes from.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedsafe.errors import ConfigError
from fedsafe.flower.internals import public_key_to_bytes, uses_nist_ec_curve


@dataclass(frozen=True)
class Allowed:
    """One client that may join."""

    number: int
    name: str
    """File name without its suffix, or the comment of its line."""
    line: str
    """The key as OpenSSH writes it."""
    key: bytes
    """The key as Flower names a node's ``public_key``: PEM, SubjectPublicKeyInfo."""


def read_allow(path: Path) -> tuple[Allowed, ...]:
    """Read an allow list, in the order of the clients' numbers.

    Raises:
        ConfigError: It is not there or empty, a key is no elliptic-curve key of a NIST
            curve (what Flower signs with), or a key is listed twice.
    """
    found = [
        Allowed(number, name, line, _decode(line, where))
        for number, (name, where, line) in enumerate(_lines(path))
    ]
    if not found:
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


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (name, where, line) of each key."""
    if path.is_dir():
        for file in sorted(path.glob("*.pub"), key=_natural):
            yield file.stem, str(file), file.read_text().strip()
        return
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"The allow list {path} cannot be read. Give a directory of .pub files, or a file with "
            "a key a line."
        ) from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            words = line.split()
            name = words[2] if len(words) > 2 else f"line {number}"
            yield name, f"{path}, line {number}", line.strip()


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

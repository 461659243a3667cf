"""Clients' key pairs beside an allow list: make, add, revoke, restore.

A copy of every public key that was ever listed is kept apart, so that one that was removed
from the allow list is not made again, and can be put back.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from fedsafe.app import activate
from fedsafe.deployment.server import certificate_signing
from fedsafe.errors import ConfigError

if TYPE_CHECKING:
    from server.transport.allowlist import Allowed

KEYS, ALLOW, ISSUED = "keys", "allow", "issued"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A client's name: it is a file's name, and the last word of a key's line."""


@dataclass
class WrittenFiles:
    """Files that a call wrote, and files that existed and were left unchanged."""

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    """Clients whose keys were taken off the allow list by hand, which stay off it."""


def write_new(path: Path, content: bytes, mode: int, made: WrittenFiles) -> None:
    """Write a new file with its final mode from the start, never readable by others."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    made.written.append(path)


def make(directory: Path, names: Sequence[str], made: WrittenFiles) -> None:
    """Create missing client key pairs in OpenSSH format, as Flower reads them."""
    for name in names:
        private, public = directory / KEYS / name, directory / ALLOW / f"{name}.pub"
        if public.exists():  # its private half may have gone to its client, as it should
            made.kept.append(public)
            if _issued(directory, name) is None:
                _issue(directory, name, _split(public.read_text())[0])
            continue
        if _issued(directory, name) is not None:
            made.removed.append(name)
            continue
        if private.exists():
            key = serialization.load_ssh_private_key(private.read_bytes(), None)
            made.kept.append(private)
        else:
            key = certificate_signing.new_key()
            secret = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
            write_new(private, secret, 0o600, made)
        line = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write_new(public, line + f" {name}\n".encode(), 0o644, made)
        _issue(directory, name, f"{line.decode()} {name}")


def add(directory: Path, name: str, public: Path | None) -> WrittenFiles:
    """Add a client to the allow list: with a new key pair, or with a public key of its own.

    Args:
        directory: What `init` made.
        name: What the client is called from now on.
        public: Its public key; None: a pair is made.

    Raises:
        ConfigError: The name is none, or is taken; the key is none, or is listed already.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be a client's name: use up to 64 letters, digits, dots, dashes and "
            "underscores, and begin with a letter or digit."
        )
    allow = directory / ALLOW
    if not allow.is_dir():
        raise ConfigError(
            f"{directory} has no directory '{ALLOW}'. Give with -o what `fedsafe certs init` made."
        )
    listed = _read(allow)
    if any(one.name == name for one in listed) or _issued(directory, name):
        raise ConfigError(
            f"There is or was a client '{name}'. Choose another name; `fedsafe certs restore "
            f"{name}` brings a revoked or removed one back."
        )
    written = WrittenFiles()
    if public is None:
        make(directory, [name], written)
        return written
    (given,) = _read(public)[:1]
    for one in listed:
        if one.key == given.key:
            raise ConfigError(f"The key of {public} is listed already, as '{one.name}'.")
    line = " ".join([*given.line.split()[:2], name])
    write_new(allow / f"{name}.pub", f"{line}\n".encode(), 0o644, written)
    _issue(directory, name, line)
    return written


def revoke(place: Path, name: str) -> bool:
    """Disable a client's key in place; return whether it was not before.

    Args:
        place: What `init` made, or an allow list: a directory of .pub files, or a file.
        name: The client, as the list calls it.

    Raises:
        ConfigError: No such client is listed.
    """
    activate()
    from server.transport.allowlist import REVOKED

    _, one = _find(place, name)
    if one is None:
        raise _unknown(place, name)
    return _mark(place, one, f"{REVOKED} {one.line}")


def restore(place: Path, name: str) -> bool:
    """Enable a client's key again, or list it again; return whether it was not before.

    Raises:
        ConfigError: There never was such a client.
    """
    allow, one = _find(place, name)
    if one is not None:
        return _mark(place, one, one.line)
    line = _issued(place, name) if allow.is_dir() else None
    if line is None:
        raise _unknown(place, name)
    _replace(allow / f"{name}.pub", f"{line}\n")
    return True


def _mark(place: Path, one: "Allowed", line: str) -> bool:
    """Write the line of a listed key anew; return whether it differs from before."""
    allow = _allow(place)
    if not allow.is_dir():
        lines = allow.read_text(encoding="utf-8").splitlines()
        changed = [line if _split(old)[0] == one.line else old for old in lines]
        _replace(allow, "\n".join(changed) + "\n")
        return changed != lines
    file = allow / f"{one.name}.pub"
    before = file.read_text(encoding="utf-8").strip()
    _replace(file, f"{line}\n")
    return before != line


def _find(place: Path, name: str) -> "tuple[Path, Allowed | None]":
    allow = _allow(place)
    return allow, next((one for one in _read(allow) if one.name == name), None)


def _allow(place: Path) -> Path:
    """Return the allow list that is meant: a place's own, or the place itself."""
    return place / ALLOW if (place / ALLOW).is_dir() else place


def _read(path: Path) -> "tuple[Allowed, ...]":
    activate()
    from server.transport.allowlist import read_allow

    return read_allow(path, may_be_empty=path.is_dir())


def _split(line: str) -> tuple[str, bool]:
    activate()
    from server.transport.allowlist import split_marker

    return split_marker(line)


def _issued(directory: Path, name: str) -> str | None:
    """Return the line of a public key that was ever listed, by its client's name."""
    try:
        return (directory / ISSUED / f"{name}.pub").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def _issue(directory: Path, name: str, line: str) -> None:
    (directory / ISSUED).mkdir(mode=0o700, exist_ok=True)
    _replace(directory / ISSUED / f"{name}.pub", f"{line}\n")


def _replace(path: Path, text: str) -> None:
    """Replace a file of public keys in one step: a running server may be reading it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.chmod(0o644)
        aside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        aside.unlink(missing_ok=True)


def _unknown(place: Path, name: str) -> ConfigError:
    names = ", ".join(one.name for one in _read(_allow(place))) or "nobody"
    return ConfigError(f"{_allow(place)} lists no client '{name}'. It lists {names}.")

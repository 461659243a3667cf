"""Server randomness: seeds for client sampling, rules and filters.

In one process and in a simulation they come from the experiment's seed. On separate machines a
client may guess that seed, and could then know which coordinates a rule looks at, the noise that
a filter adds, or the rounds in which its colluders are sampled together: there they come from the
operating system's randomness, kept in the run directory so that a restart draws the same.
"""

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from fedsafe.errors import ConfigError, RunError
from fedsafe.runs.files import write_bytes
from fedsafe.runs.layout import RunFile
from fedsafe.runs.store import Store
from fedsafe.seeds import derive

FEWEST, MOST = 16, 4096
"""Bytes of the file."""


@dataclass(frozen=True)
class Draws:
    """Seed source of the server's random draws.

    Attributes:
        cohorts: Seed of the sampling of clients.
        rules: Seed of rules and filters; None: their own setting ``seed``.
    """

    cohorts: int
    rules: int | None = None

    def __repr__(self) -> str:
        """Show no value: whoever knows it can predict the draws."""
        return "Draws(...)"

    @classmethod
    def of(cls, seed: int, store: Store | None = None, given: Path | None = None) -> "Draws":
        """Return the draws of a run.

        Args:
            seed: Of the experiment.
            store: The run directory of a run on separate machines; None: all is in one process
                or simulation, and the seed decides.
            given: File of the operator's that the draws are made from; None: as the run began.

        Raises:
            ConfigError: The operator's file cannot be used.
            RunError: The run began with another file, or its own is damaged.
        """
        if store is None:
            return cls(seed)
        secret = int.from_bytes(
            hashlib.sha256(_bytes(store.directory / RunFile.RANDOMNESS, given)).digest()
        )
        return cls(cohorts=secret, rules=derive(secret, "rules"))


def _bytes(kept: Path, given: Path | None) -> bytes:
    """Return the bytes that the draws are made from; at the start they are kept."""
    wanted = None if given is None else _given(given)
    if not kept.exists():
        fresh = wanted or f"{secrets.token_hex(32)}\n".encode()
        write_bytes(kept, fresh)
        return fresh
    try:
        found = kept.read_bytes()
    except OSError as error:
        raise RunError(f"{kept} cannot be read: {error.strerror}. Make it readable.") from None
    if wanted is not None and wanted != found:
        raise RunError(
            f"This run began with other randomness than that in {given}: see {kept}. Go on without "
            "--randomness, or start a new run in another directory."
        )
    if not FEWEST <= len(found) <= MOST:
        raise RunError(f"{kept} is damaged: it has {len(found)} bytes. Restore it from a copy.")
    return found


def _given(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            found = file.read(MOST + 1)
    except OSError as error:
        raise ConfigError(f"--randomness {path} cannot be read: {error.strerror}.") from None
    if not FEWEST <= len(found) <= MOST:
        raise ConfigError(
            f"--randomness {path} must hold {FEWEST} to {MOST} bytes that nobody can guess; "
            f"{'more' if len(found) > MOST else len(found)} are there. Use the file 'randomness' "
            "of an earlier run to repeat it, or `head -c 32 /dev/urandom > FILE`."
        )
    return found

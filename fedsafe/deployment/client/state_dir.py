"""State directory of a client: node config file, lock, digest key, socket.

Only this user can read any of it.
"""

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedsafe.app import activate
from fedsafe.contracts import sources
from fedsafe.deployment.client.identity import Identity
from fedsafe.errors import ConfigError, LaunchError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.runs.files import flock, write_text

if TYPE_CHECKING:
    from clients.node_config import NodeConfig


def home() -> Path:
    """Return the default state directory of all clients of this user."""
    return Path.home() / ".fedsafe" / "clients"


def examine(source: PluginChoice, secret: bytes) -> tuple[int, str]:
    """Count a client's examples and compute their keyed digest.

    Without the client's secret the digest tells nothing, not even whether two clients have
    the same data; with it, it changes when the data does.

    Raises:
        DataError: The data cannot be used.
    """
    from fedsafe.data.sources import fingerprint

    examples = sources[source.name].configure(source.settings)(0)
    digest = hmac.new(secret, f"data\0{fingerprint(examples)}".encode(), sha256)
    return len(examples), digest.hexdigest()


def secret(directory: Path, identity: Identity) -> bytes:
    """Return the key of a client's data digest: derived from its private key, or random."""
    if identity.secret is not None:
        return identity.secret
    path = directory / "secret"
    if not path.is_file():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    return path.read_bytes()


def own_key(directory: Path) -> Path:
    """Return a generated private key for a client that was given none.

    A server without a list of keys then knows it again when it comes back.
    """
    path = directory / "key"
    if not path.is_file():
        key = ec.generate_private_key(ec.SECP384R1())
        form = (Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.private_bytes(*form))
    return path


def place(root: Path, identity: Identity) -> Path:
    """Make and return one client's own directory, mode 0700.

    Raises:
        ConfigError: It cannot be made.
    """
    root = root.expanduser().absolute()
    directory = root / identity.short
    try:
        for one in (root, directory):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"--state {root} cannot be written: {error.strerror}. Choose another directory."
        ) from None
    return directory


def locked(directory: Path, identity: Identity) -> TextIO:
    """Lock a client's directory for this process, until the returned file is closed.

    Raises:
        LaunchError: Another process has it.
    """

    def taken(holder: str) -> LaunchError:
        return LaunchError(
            f"Another `fedsafe client` (process {holder}) runs with the key {identity.name} on "
            "this machine. Stop it, or give another --key."
        )

    return flock(directory / "lock", taken)


def socket_in(directory: Path) -> Path:
    """Return the path of a trainer's socket.

    Raises:
        ConfigError: It is longer than a socket's path can be.
    """
    activate()
    from clients.worker.unix_socket import LONGEST_PATH

    path = directory / "trainer.sock"
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ConfigError(
            f"{path} is longer than the {LONGEST_PATH} bytes that a socket's path may have. "
            "Choose a shorter --state."
        )
    return path


def check_trainer(path: Path) -> Path:
    """Return the socket of an external worker, checked to answer.

    Raises:
        LaunchError: None does.
    """
    activate()
    from clients.worker.worker_client import probe

    path = path.expanduser().absolute()
    if probe(path) is None:
        raise LaunchError(
            f"No trainer of this user answers on {path}. Start the `fedsafe client` that keeps it "
            "first; it tells the socket's path."
        )
    return path


def write(site: "NodeConfig", path: Path) -> None:
    """Write a node config file atomically, mode 0600.

    Raises:
        LaunchError: It cannot be written.
        RunError: The disk is full.
    """
    try:
        write_text(path, site.model_dump_json(indent=2))
    except OSError as error:
        raise LaunchError(f"{path} cannot be written: {error.strerror}.") from None

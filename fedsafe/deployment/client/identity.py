"""Client identity and server address: private key, ``HOST:PORT``, CA certificate.

Each is read before anything is started, so that what is wrong is said in a sentence and
not by a process that ends a minute later.
"""

import hashlib
import ipaddress
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from fedsafe.errors import ConfigError

SHORT = 16
"""Digits of a fingerprint that name a directory."""


@dataclass(frozen=True)
class Address:
    """Server address, ``HOST:PORT``."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``HOST:PORT``; an IPv6 address stands in brackets.

        Raises:
            ConfigError: It is not of that form.
        """
        host, colon, digits = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        right = colon and bare and digits.isdecimal() and 0 < int(digits) < 65536
        if not right or "/" in text or any(c.isspace() for c in text) or _loose_v6(host):
            raise ConfigError(
                f"--server {text!r} is no address. Write HOST:PORT, such as fl.example.org:8443 or "
                "[2001:db8::5]:8443, without https:// in front."
            )
        return cls(bare, int(digits))

    def __str__(self) -> str:
        """Return it as it was written."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether it is this machine's own loopback."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _loose_v6(host: str) -> bool:
    return ":" in host and not host.startswith("[")


@dataclass(frozen=True)
class Identity:
    """Identity of one client: its key, or its number where the server needs no key."""

    name: str
    """What the operator calls it: the key file's name."""
    short: str
    """Beginning of the sha256 of the public key, hexadecimal; names a directory."""
    path: Path | None = None
    """The private key's file."""
    number: int | None = None
    """Its number, where it has no key."""
    secret: bytes | None = field(default=None, repr=False)
    """32 bytes that only a holder of the private key knows."""


def numbered(number: int) -> Identity:
    """Return a client with a number and no key: for trials among trusted machines."""
    return Identity(f"client {number}", f"number-{number}", number=number)


def read_identity(path: Path) -> Identity:
    """Read a SuperNode's private key.

    Raises:
        ConfigError: It is not there, others may read it, or it is no unencrypted OpenSSH
            key of an elliptic curve, which is what Flower signs with.
    """
    path = path.expanduser()
    try:
        with path.open("rb") as file:
            status, content = os.fstat(file.fileno()), file.read(65536)
    except OSError as error:
        raise ConfigError(
            f"--key {path} cannot be read: {error.strerror}. Give the private key that `fedsafe "
            "certs init` made for this client."
        ) from None
    if content.startswith((b"ecdsa-sha2-", b"ssh-", b"sk-")):
        raise ConfigError(
            f"--key {path} is a public key. Give its private half, the file without .pub."
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"--key {path} can be read by others (mode {mode:04o}): whoever has it can stand for "
            f"this client. Close it: chmod 600 {path}"
        )
    key = _load(path, content)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Identity(
        name=path.name,
        short=hashlib.sha256(public).hexdigest()[:SHORT],
        path=path.resolve(),
        secret=hashlib.sha256(b"fedsafe client\0" + private).digest(),
    )


def _load(path: Path, content: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key that a file holds."""
    try:
        key: object = load_ssh_private_key(content, None)
    except TypeError:  # what cryptography raises when a passphrase is missing
        raise ConfigError(
            f"--key {path} is protected by a passphrase, which Flower cannot ask for. Remove it: "
            f"ssh-keygen -p -N '' -f {path}"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    curves = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, curves):
        raise ConfigError(
            f"--key {path} is no OpenSSH private key of a NIST elliptic curve. Make one with "
            f"`fedsafe certs init`, or with: ssh-keygen -t ecdsa -b 384 -N '' -f {path}.new"
        )
    return key


def check_authority(path: Path) -> Path:
    """Return the absolute path of the certificate that the server is checked by.

    Raises:
        ConfigError: It is not there, or is no certificate in PEM format.
    """
    path = path.expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"--tls {path} cannot be read: {error.strerror}. Give ca.crt as the server's operator "
            "handed it to you."
        ) from None
    try:
        x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ConfigError(
            f"--tls {path} is no certificate in PEM format. Give ca.crt as the server's operator "
            "handed it to you."
        ) from None
    return path.resolve()


def plain_pem(path: Path) -> bytes:
    """Return only the certificates of a PEM file, without text around them.

    Raises:
        OSError: It is gone.
        ValueError: It holds none.
    """
    certificates = x509.load_pem_x509_certificates(path.read_bytes())
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)

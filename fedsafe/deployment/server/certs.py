"""Certificate directory: CA, server certificate, and one key pair per client.

What exists is never overwritten; making it again adds what is missing.
"""

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from fedsafe.deployment.server import certificate_signing, client_keys
from fedsafe.deployment.server.client_keys import ALLOW, KEYS, WrittenFiles, write_new
from fedsafe.errors import ConfigError

CA, CA_KEY, SERVER, SERVER_KEY = "ca.crt", "ca.key", "server.crt", "server.key"
SOON = 30
"""Days before a certificate's end from which on it is mentioned."""


def init(directory: Path, hosts: Sequence[str], clients: int, days: int) -> WrittenFiles:
    """Create the CA, server certificate and client key pairs that do not exist yet.

    Args:
        directory: Where they go: mode 0700, and 0600 for the secrets in it.
        hosts: DNS names and IP addresses of the server, besides the loopback ones.
        clients: How many key pairs there are to be: node0, node1, ...
        days: For how many days the server's certificate is valid.

    Raises:
        ConfigError: A host is no name or address, the certificate that is there does not
            cover a host, a file's other half is gone, or the directory cannot be written.
    """
    asked = [certificate_signing.host_name(host) for host in hosts]
    written = WrittenFiles()
    try:
        for home in (directory, directory / KEYS, directory / ALLOW):
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            home.chmod(0o700)
        _server(directory, asked, days, written)
        client_keys.make(directory, [f"node{number}" for number in range(clients)], written)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or directory} cannot be written: {error.strerror}. Choose another "
            "directory with -o."
        ) from None
    return written


def _server(
    directory: Path, asked: Sequence[x509.GeneralName], days: int, made: WrittenFiles
) -> None:
    """Make the server's certificate and key, unless they are there."""
    if _both(directory, SERVER, SERVER_KEY):
        covered = certificate_signing.names_of(certificate_signing.read(directory / SERVER))
        lacking = [str(name.value) for name in asked if name not in covered]
        if lacking:
            raise ConfigError(
                f"{directory / SERVER} is not valid for {', '.join(lacking)}. Move {SERVER} and "
                f"{SERVER_KEY} away and run this again with every --host: the same authority signs "
                "the new one, and clients need nothing new."
            )
        made.kept += [directory / name for name in (CA, SERVER, SERVER_KEY)]
        return
    if _both(directory, CA, CA_KEY):
        made.kept += [directory / CA, directory / CA_KEY]
    else:
        secret = certificate_signing.new_key()
        authority = certificate_signing.sign_authority(
            secret, certificate_signing.in_days(certificate_signing.AUTHORITY_DAYS)
        )
        write_new(directory / CA_KEY, certificate_signing.pem(secret), 0o600, made)
        write_new(directory / CA, certificate_signing.text(authority), 0o644, made)
    ca, ca_key = (
        certificate_signing.read(directory / CA),
        certificate_signing.read_key(directory / CA_KEY),
    )
    key, end = (
        certificate_signing.new_key(),
        min(certificate_signing.in_days(days), ca.not_valid_after_utc),
    )
    write_new(directory / SERVER_KEY, certificate_signing.pem(key), 0o600, made)
    loopback = [certificate_signing.host_name(host) for host in certificate_signing.LOOPBACK]
    names = list(dict.fromkeys((*asked, *loopback)))
    signed = certificate_signing.sign_server(key, names, ca, ca_key, end)
    write_new(directory / SERVER, certificate_signing.text(signed), 0o644, made)


def _both(directory: Path, certificate: str, key: str) -> bool:
    """Return whether a certificate and its key are there.

    Raises:
        ConfigError: One of them is.
    """
    there, gone = certificate, key
    if (directory / key).exists():
        there, gone = key, certificate
    if (directory / certificate).exists() == (directory / key).exists():
        return (directory / key).exists()
    raise ConfigError(
        f"{directory / there} is there and {gone} is not. Bring {gone} back, or choose another "
        "directory with -o."
    )


def write_loopback(directory: Path) -> None:
    """Write ca.crt, server.crt and server.key of this machine alone, in place of older ones."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in zip((CA, SERVER, SERVER_KEY), certificate_signing.loopback(), strict=True):
        (directory / name).unlink(missing_ok=True)
        write_new(directory / name, content, 0o600, WrittenFiles())


def renew(directory: Path, hosts: Sequence[str], days: int) -> x509.Certificate:
    """Sign the server's certificate anew, for the key and the hosts that it has.

    Replaced in one step: a running server takes it without a stop, and clients need
    nothing new.

    Args:
        directory: What `init` made, its authority's key included.
        hosts: DNS names and IP addresses to add to those that it is valid for.
        days: For how many days it is valid from now on.

    Raises:
        ConfigError: A part is missing or does not fit, or the authority itself has ended.
    """
    before = certificate_signing.read(directory / SERVER)
    _load(directory)
    ca = certificate_signing.read(directory / CA)
    ca_key = certificate_signing.read_key(directory / CA_KEY)
    if not _signed(directory, before) or ca.public_key() != ca_key.public_key():
        raise ConfigError(
            f"{directory / CA} and {CA_KEY} did not sign {SERVER}. Clients would not trust another "
            "authority: bring the right ones back."
        )
    end = min(certificate_signing.in_days(days), ca.not_valid_after_utc)
    if end <= certificate_signing.now():
        raise ConfigError(
            f"{directory / CA}, the authority itself, ended on {ca.not_valid_after_utc:%Y-%m-%d}. "
            "Make a new directory with `fedsafe certs init`, and give every client its ca.crt."
        )
    asked = [certificate_signing.host_name(host) for host in hosts]
    names = list(dict.fromkeys((*certificate_signing.names_of(before), *asked)))
    key = certificate_signing.read_key(directory / SERVER_KEY)
    signed = certificate_signing.sign_server(key, names, ca, ca_key, end)
    aside = directory / f".{SERVER}.{os.getpid()}"
    try:
        write_new(aside, certificate_signing.text(signed), 0o644, WrittenFiles())
        aside.replace(directory / SERVER)
    except OSError as error:
        raise ConfigError(f"{directory / SERVER} cannot be written: {error.strerror}.") from None
    finally:
        aside.unlink(missing_ok=True)
    return signed


@dataclass(frozen=True)
class CertificateCheck:
    """Result of checking a certificate directory."""

    hosts: tuple[str, ...]
    """Names that the server's certificate is valid for."""
    days: int
    """Days that it is still valid."""
    signed: bool
    """Whether ca.crt is there, and signed it."""
    problems: tuple[str, ...]


def check(directory: Path) -> CertificateCheck:
    """Check a server's certificate and key: hosts, expiry, permissions, matching key.

    Raises:
        ConfigError: One of them is missing or unreadable, or they do not belong together.
    """
    certificate = certificate_signing.read(directory / SERVER)
    _load(directory)
    end = certificate.not_valid_after_utc
    days = (end - certificate_signing.now()).days
    problems = []
    if days < 0:
        problems.append(
            f"{directory / SERVER} ended on {end:%Y-%m-%d}. Renew it with `fedsafe certs renew -o "
            f"{directory}`, or move it and {SERVER_KEY} away and run `fedsafe certs init` again."
        )
    elif days < SOON:
        problems.append(f"{directory / SERVER} ends in {days} days.")
    secrets = (directory / CA_KEY, directory / SERVER_KEY, *sorted(directory.glob(f"{KEYS}/*")))
    problems += [
        f"{secret} can be read by others: chmod 600 {secret}"
        for secret in secrets
        if secret.is_file() and secret.stat().st_mode & 0o077
    ]
    hosts = tuple(str(name.value) for name in certificate_signing.names_of(certificate))
    return CertificateCheck(hosts, days, _signed(directory, certificate), tuple(problems))


def _load(directory: Path) -> None:
    """Have OpenSSL load certificate and key, which finds what does not belong together."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            directory / SERVER, directory / SERVER_KEY, password=lambda: b""
        )
    except FileNotFoundError:
        raise ConfigError(f"{directory / SERVER_KEY}, the key of {SERVER}, is not there.") from None
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"{directory / SERVER} and {SERVER_KEY} cannot be used together: "
            f"{getattr(error, 'reason', None) or error.strerror}. They must be one pair, the key "
            "not encrypted."
        ) from None


def _signed(directory: Path, certificate: x509.Certificate) -> bool:
    if not (directory / CA).is_file():
        return False
    try:
        certificate.verify_directly_issued_by(certificate_signing.read(directory / CA))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True

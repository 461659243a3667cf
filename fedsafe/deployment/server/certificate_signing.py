"""X.509 certificates of a deployment: an authority's, a server's, read and written."""

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedsafe.errors import ConfigError

AUTHORITY_DAYS = 3650
LOOPBACK = ("localhost", "127.0.0.1", "::1")
Key = ec.EllipticCurvePrivateKey
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def new_key() -> Key:
    """Return a new private key on P-384."""
    return ec.generate_private_key(ec.SECP384R1())


def pem(key: Key) -> bytes:
    """Return a private key as PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def now() -> datetime.datetime:
    """Return the current UTC time, in whole seconds as in certificates."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def in_days(days: int) -> datetime.datetime:
    """Return the time in so many days."""
    return now() + datetime.timedelta(days=days)


def host_name(host: str) -> x509.GeneralName:
    """Return a host as a certificate names it.

    Raises:
        ConfigError: It is neither an IP address nor a DNS name.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.rstrip(".").split(".")
    plain = all(
        label and len(label) < 64 and label.replace("-", "").isalnum() and label.isascii()
        for label in (labels[1:] if labels[0] == "*" and len(labels) > 1 else labels)
    )
    if not plain:
        raise ConfigError(
            f"--host {host} is neither a DNS name nor an IP address. Give what clients will write "
            "before the port, such as fl.example.org or 10.0.0.5."
        )
    return x509.DNSName(host)


def sign_authority(key: Key, end: datetime.datetime) -> x509.Certificate:
    """Return the certificate of a new authority, signed by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "FedSafe authority")])
    builder = _builder(name, name, key, end, ("key_cert_sign", "crl_sign"))
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    return builder.sign(key, hashes.SHA384())


def sign_server(
    key: Key,
    names: Iterable[x509.GeneralName],
    ca: x509.Certificate,
    ca_key: Key,
    end: datetime.datetime,
) -> x509.Certificate:
    """Return a server's certificate for these names, signed by an authority."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "FedSafe server")])
    builder = _builder(subject, ca.subject, key, end, ("digital_signature",))
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
        .sign(ca_key, hashes.SHA384())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    end: datetime.datetime,
    usages: Sequence[str],
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(**{name: name in usages for name in _USAGES})
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # The clock of a client may be behind.
        .not_valid_before(now() - datetime.timedelta(hours=1))
        .not_valid_after(end)
        .add_extension(usage, critical=True)
        .add_extension(own, critical=False)
    )


def text(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def loopback() -> tuple[bytes, bytes, bytes]:
    """Return (authority, certificate, key) for this machine alone, PEM.

    The authority's key is forgotten, so that it signs nothing else.
    """
    ca_key, key, end = new_key(), new_key(), in_days(AUTHORITY_DAYS)
    ca = sign_authority(ca_key, end)
    signed = sign_server(key, [host_name(host) for host in LOOPBACK], ca, ca_key, end)
    return text(ca), text(signed), pem(key)


def read(path: Path) -> x509.Certificate:
    """Read a PEM certificate, the first of a chain.

    Raises:
        ConfigError: It is not there, or is none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"The certificate {path} cannot be read: {error.strerror}. Make one with `fedsafe "
            "certs init --host NAME`."
        ) from None
    except ValueError:
        raise ConfigError(f"{path} is not a certificate in PEM format.") from None


def read_key(path: Path) -> Key:
    """Read a private key of an elliptic curve, PEM.

    Raises:
        ConfigError: It is not there, or is none.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ConfigError(f"The key {path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path} is no unencrypted elliptic-curve key in PEM format.")
    return key


def names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Return the hosts that a certificate is valid for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(extension.value)

"""A client's key, the server's address and authority: what is taken, and what is said."""

import base64
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from fedsafe.deployment.client.identity import Address, check_authority, numbered, read_identity
from fedsafe.deployment.server import certs
from fedsafe.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("fl.example.org:8443", "fl.example.org", 8443),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[2001:db8::5]:65535", "2001:db8::5", 65535),
    ],
)
def test_address_is_read_and_written_back(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":8443", "host:0", "host:65536", "host:x", "2001:db8::5:8443",
     "https://host:8443", "host:8443/", "ho st:8443", "[]:8443"],
)  # fmt: skip
def test_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no address\. Write HOST:PORT"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "local"),
    [("localhost:1", True), ("127.0.0.1:1", True), ("[::1]:1", True), ("10.0.0.5:1", False)],
)
def test_loopback_is_known(text: str, local: bool) -> None:
    assert Address.parse(text).local is local


def private(path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> Path:
    """Write a private key as OpenSSH does."""
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return path


def test_identity_of_a_made_key(tmp_path: Path) -> None:
    certs.init(tmp_path, ["localhost"], 1, 1)
    identity = read_identity(tmp_path / "keys" / "node0")
    assert identity.name == "node0"
    assert len(identity.short) == 16
    assert len(identity.secret or b"") == 32


def test_secret_and_directory_follow_the_key_not_the_file(tmp_path: Path) -> None:
    key, other = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    one, same, third = (
        read_identity(private(tmp_path / name, made))
        for name, made in (("a", key), ("b", key), ("c", other))
    )
    assert (one.short, one.secret) == (same.short, same.secret)
    assert one.short != third.short
    assert one.secret != third.secret


def test_secret_is_not_shown(tmp_path: Path) -> None:
    identity = read_identity(private(tmp_path / "a", ec.generate_private_key(ec.SECP256R1())))
    assert str(identity.secret) not in repr(identity)


def test_number_stands_for_a_client_without_key() -> None:
    assert (numbered(3).number, numbered(3).secret, numbered(3).short) == (3, None, "number-3")


def open_to_others(path: Path) -> None:
    private(path, ec.generate_private_key(ec.SECP384R1())).chmod(0o640)


def public_half(path: Path) -> None:
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    path.write_bytes(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))


def edwards(path: Path) -> None:
    private(path, ed25519.Ed25519PrivateKey.generate())


def protected(path: Path) -> None:
    """Write what ``ssh-keygen -N words`` writes, the encrypted part left empty."""

    def text(value: bytes) -> bytes:
        return struct.pack("!I", len(value)) + value

    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    public = base64.b64decode(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
    options = text(text(bytes(16)) + struct.pack("!I", 16))
    body = b"openssh-key-v1\0" + text(b"aes256-ctr") + text(b"bcrypt") + options
    body += struct.pack("!I", 1) + text(public) + text(bytes(160))
    path.touch(0o600)
    path.write_bytes(
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n"
        + base64.encodebytes(body)
        + b"-----END OPENSSH PRIVATE KEY-----\n"
    )


def nonsense(path: Path) -> None:
    path.touch(0o600)
    path.write_bytes(b"\xff\x00 nothing")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (open_to_others, r"can be read by others \(mode 0640\).*chmod 600 "),
        (public_half, "is a public key. Give its private half"),
        (edwards, "no OpenSSH private key of a NIST elliptic curve"),
        (protected, "protected by a passphrase.*ssh-keygen -p"),
        (nonsense, "no OpenSSH private key of a NIST elliptic curve"),
    ],
)
def test_wrong_key_is_refused_with_what_to_do(make: object, said: str, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "node0")
    with pytest.raises(ConfigError, match=said):
        read_identity(tmp_path / "node0")


def test_authority_is_given_back_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certs.init(tmp_path, ["localhost"], 0, 1)
    monkeypatch.chdir(tmp_path)
    assert check_authority(Path("ca.crt")) == tmp_path / "ca.crt"


def test_authority_that_is_a_key_is_refused(tmp_path: Path) -> None:
    certs.init(tmp_path, ["localhost"], 0, 1)
    with pytest.raises(ConfigError, match=r"no certificate in PEM format\. Give ca\.crt"):
        check_authority(tmp_path / "ca.key")


def test_authority_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file.* Give ca\.crt"):
        check_authority(tmp_path / "ca.crt")

"""Certificates and keys: closed, whole, never overwritten, and taken by TLS and by Flower."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from fedsafe.deployment.server import certificate_signing, certs
from fedsafe.errors import ConfigError
from server.transport.allowlist import read_allow

HOSTS = ("fl.example.org", "10.0.0.5", "2001:db8::5", "*.example.net")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as `fedsafe certs init` leaves it; not to be changed."""
    home = tmp_path_factory.mktemp("made") / "certs"
    certs.init(home, HOSTS, clients=3, days=90)
    return home


def files(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", ["ca.key", "server.key", "keys/node0", "keys/node2"])
def test_secrets_are_for_their_owner_alone(made: Path, name: str) -> None:
    assert mode(made / name) == 0o600


@pytest.mark.parametrize("name", ["", "keys", "allow"])
def test_directories_are_for_their_owner_alone(made: Path, name: str) -> None:
    assert mode(made / name) == 0o700


def test_a_loose_umask_opens_nothing(tmp_path: Path) -> None:
    import os

    before = os.umask(0)
    try:
        certs.init(tmp_path / "certs", [], clients=1, days=1)
    finally:
        os.umask(before)
    assert mode(tmp_path / "certs/keys/node0") == 0o600


def test_the_authority_signed_the_server(made: Path) -> None:
    ca, server = (
        certificate_signing.read(made / certs.CA),
        certificate_signing.read(made / certs.SERVER),
    )
    server.verify_directly_issued_by(ca)


def test_the_authority_signed_itself_and_may_sign_no_other_authority(made: Path) -> None:
    ca = certificate_signing.read(made / certs.CA)
    ca.verify_directly_issued_by(ca)
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_the_server_is_valid_for_every_host_and_this_machine(made: Path) -> None:
    names = [
        str(name.value)
        for name in certificate_signing.names_of(certificate_signing.read(made / certs.SERVER))
    ]
    assert names == [*HOSTS, "localhost", "127.0.0.1", "::1"]


def test_a_certificate_of_before_loopback_had_two_addresses_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_signing, "LOOPBACK", ("localhost", "127.0.0.1"))
    certs.init(tmp_path, ["fl.example.org"], clients=1, days=1)
    monkeypatch.undo()
    before = files(tmp_path)
    certs.init(tmp_path, ["fl.example.org"], clients=1, days=1)
    assert files(tmp_path) == before


def test_the_server_is_valid_as_long_as_asked(made: Path) -> None:
    assert certs.check(made).days in {89, 90}  # as the second that is just passing counts


def shake(server: Path, ca: Path, host: str) -> None:
    """Let TLS itself judge, as strictly as Python can."""
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.load_cert_chain(server / certs.SERVER, server / certs.SERVER_KEY)
    asking = ssl.create_default_context(cafile=ca)
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = listening.wrap_bio(there, back, server_side=True)
    right = asking.wrap_bio(back, there, server_hostname=host)
    for side in (right, left, right, left, right):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


@pytest.mark.parametrize(
    "host", ["fl.example.org", "10.0.0.5", "2001:db8::5", "a.example.net", "::1"]
)
def test_tls_takes_the_certificate(made: Path, host: str) -> None:
    shake(made, made / certs.CA, host)


def test_tls_refuses_another_host(made: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(made, made / certs.CA, "evil.example.org")


def test_tls_refuses_another_authority(made: Path, tmp_path: Path) -> None:
    certs.init(tmp_path, ["fl.example.org"], clients=1, days=1)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(made, tmp_path / certs.CA, "fl.example.org")


def test_the_allow_list_is_read_in_order(tmp_path: Path) -> None:
    certs.init(tmp_path, [], clients=12, days=1)
    names = [one.name for one in read_allow(tmp_path / certs.ALLOW)]
    assert names == [f"node{number}" for number in range(12)]


def test_flower_reads_the_private_keys(made: Path) -> None:
    key = load_ssh_private_key((made / "keys/node1").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"


def test_a_private_key_belongs_to_its_line_of_the_allow_list(made: Path) -> None:
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes

    key = load_ssh_private_key((made / "keys/node2").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert read_allow(made / certs.ALLOW)[2].key == public_key_to_bytes(key.public_key())


def test_again_changes_nothing(tmp_path: Path) -> None:
    certs.init(tmp_path, HOSTS, clients=2, days=90)
    before = files(tmp_path)
    made = certs.init(tmp_path, HOSTS[:2], clients=2, days=30)
    assert (files(tmp_path), made.written) == (before, [])


def test_again_adds_clients(tmp_path: Path) -> None:
    certs.init(tmp_path, HOSTS, clients=1, days=90)
    before = files(tmp_path)
    made = certs.init(tmp_path, HOSTS, clients=2, days=90)
    assert [path.name for path in made.written] == ["node1", "node1.pub"]
    assert before.items() <= files(tmp_path).items()


def test_a_key_that_went_to_its_client_is_not_made_anew(tmp_path: Path) -> None:
    certs.init(tmp_path, [], clients=1, days=90)
    (tmp_path / "keys/node0").unlink()
    assert certs.init(tmp_path, [], clients=1, days=90).written == []


def test_a_public_key_that_was_never_listed_comes_from_the_private_one(tmp_path: Path) -> None:
    certs.init(tmp_path, [], clients=1, days=90)
    before = (tmp_path / "allow/node0.pub").read_bytes()
    for name in ("allow", "issued"):  # as a call leaves it that was broken off in between
        (tmp_path / name / "node0.pub").unlink()
    certs.init(tmp_path, [], clients=1, days=90)
    assert (tmp_path / "allow/node0.pub").read_bytes() == before


def test_a_new_server_certificate_comes_from_the_same_authority(tmp_path: Path) -> None:
    certs.init(tmp_path, ["a.example.org"], clients=1, days=90)
    ca = (tmp_path / certs.CA).read_bytes()
    (tmp_path / certs.SERVER).unlink()
    (tmp_path / certs.SERVER_KEY).unlink()
    certs.init(tmp_path, ["b.example.org"], clients=1, days=90)
    assert (tmp_path / certs.CA).read_bytes() == ca
    shake(tmp_path, tmp_path / certs.CA, "b.example.org")


@pytest.mark.parametrize(
    ("hosts", "gone", "said"),
    [
        (["new.example.org"], (), "server.crt is not valid for new.example.org"),
        (["a.example.org"], ("server.key",), "server.crt is there and server.key is not"),
        (["a.example.org"], ("server.crt",), "server.key is there and server.crt is not"),
        (["a.example.org"], ("server.crt", "server.key", "ca.key"), "ca.key is not"),
        (["two words"], (), "neither a DNS name nor an IP address"),
        (["https://a.example.org"], (), "neither a DNS name nor an IP address"),
        ([""], (), "neither a DNS name nor an IP address"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, hosts: list[str], gone: tuple[str, ...], said: str
) -> None:
    certs.init(tmp_path, ["a.example.org"], clients=1, days=90)
    for name in gone:
        (tmp_path / name).unlink()
    before = files(tmp_path)
    with pytest.raises(ConfigError, match=said):
        certs.init(tmp_path, hosts, clients=1, days=90)
    assert files(tmp_path) == before


def test_a_directory_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "certs").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        certs.init(tmp_path / "certs", [], clients=1, days=90)


def test_check_says_what_is_open(made: Path, tmp_path: Path) -> None:
    certs.init(tmp_path, [], clients=1, days=90)
    (tmp_path / "keys/node0").chmod(0o644)
    (problem,) = certs.check(tmp_path).problems
    assert problem.endswith(f"chmod 600 {tmp_path / 'keys/node0'}")


def test_check_says_that_the_end_is_near(tmp_path: Path) -> None:
    certs.init(tmp_path, [], clients=1, days=10)
    assert "server.crt ends in " in certs.check(tmp_path).problems[0]


def test_check_says_that_another_authority_signed(made: Path, tmp_path: Path) -> None:
    certs.init(tmp_path, [], clients=1, days=90)
    (tmp_path / certs.CA).write_bytes((made / certs.CA).read_bytes())
    assert not certs.check(tmp_path).signed


def test_check_refuses_a_key_of_another(made: Path, tmp_path: Path) -> None:
    certs.init(tmp_path, [], clients=1, days=90)
    (tmp_path / certs.SERVER_KEY).write_bytes((made / certs.SERVER_KEY).read_bytes())
    with pytest.raises(ConfigError, match="cannot be used together"):
        certs.check(tmp_path)


@pytest.mark.parametrize("text", [b"", b"not a certificate"])
def test_check_refuses_what_is_no_certificate(tmp_path: Path, text: bytes) -> None:
    (tmp_path / certs.SERVER).write_bytes(text)
    with pytest.raises(ConfigError, match="not a certificate"):
        certs.check(tmp_path)


def test_the_loopback_pair_is_new_each_time(tmp_path: Path) -> None:
    certs.write_loopback(tmp_path)
    before = files(tmp_path)
    certs.write_loopback(tmp_path)
    shake(tmp_path, tmp_path / certs.CA, "127.0.0.1")
    assert files(tmp_path) != before

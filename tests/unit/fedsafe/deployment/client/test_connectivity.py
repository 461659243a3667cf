"""A look at a server: the right one, another one, one with another clock, none."""

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fedsafe.deployment.client.connectivity import look
from fedsafe.deployment.client.identity import Address
from fedsafe.deployment.server import certificate_signing, certs
from fedsafe.flower.environment import free_port


@contextmanager
def server(tls: Path | None, ahead: float = 0.0, status: int = 403) -> Iterator[Address]:
    """Serve refusals, as the front does, by a clock that is so many seconds ahead of ours."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def date_time_string(self, timestamp: float | None = None) -> str:
            now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=ahead)
            return format_datetime(now, usegmt=True)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(HTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    listening = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls / certs.SERVER, tls / certs.SERVER_KEY)
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Address("localhost", listening.server_port)
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and a server's certificate for this machine."""
    directory = tmp_path_factory.mktemp("tls")
    certs.init(directory, ["localhost"], 0, 1)
    return directory


def test_the_right_server_with_the_right_clock(tls: Path) -> None:
    with server(tls) as address:
        seen = look(address, tls / "ca.crt")
    assert (seen.reached, seen.refusal, seen.clock) == (True, "", "")


def test_another_authority_is_told(tls: Path, tmp_path: Path) -> None:
    certs.init(tmp_path, ["localhost"], 0, 1)
    with server(tls) as address:
        seen = look(address, tmp_path / "ca.crt")
    assert "a certificate that" in seen.refusal
    assert "did not sign" in seen.refusal


def test_another_name_is_told(tls: Path, tmp_path: Path) -> None:
    ca, key = certificate_signing.read(tls / "ca.crt"), certificate_signing.read_key(tls / "ca.key")
    other = certificate_signing.new_key()
    names = [certificate_signing.host_name("fl.example.org")]
    signed = certificate_signing.sign_server(other, names, ca, key, certificate_signing.in_days(1))
    (tmp_path / "server.crt").write_bytes(certificate_signing.text(signed))
    (tmp_path / "server.key").write_bytes(certificate_signing.pem(other))
    with server(tmp_path) as address:
        assert "is not one for localhost" in look(address, tls / "ca.crt").refusal
        numeric = Address(str(ipaddress.ip_address("127.0.0.1")), address.port)
        assert "is not one for 127.0.0.1" in look(numeric, tls / "ca.crt").refusal


def test_a_certificate_that_ended_is_told(tls: Path, tmp_path: Path) -> None:
    ca, key = certificate_signing.read(tls / "ca.crt"), certificate_signing.read_key(tls / "ca.key")
    other = certificate_signing.new_key()
    ended = certificate_signing.now() - datetime.timedelta(minutes=5)
    signed = certificate_signing.sign_server(
        other, [certificate_signing.host_name("localhost")], ca, key, ended
    )
    (tmp_path / "server.crt").write_bytes(certificate_signing.text(signed))
    (tmp_path / "server.key").write_bytes(certificate_signing.pem(other))
    with server(tmp_path) as address:
        assert (
            "is no longer valid, by this machine's clock" in look(address, tls / "ca.crt").refusal
        )


def test_a_server_without_tls_is_told(tls: Path) -> None:
    with server(None) as address:
        assert "does not speak TLS" in look(address, tls / "ca.crt").refusal


def test_a_front_that_wants_tls_is_told() -> None:
    with server(None, status=400) as address:
        assert "Give --tls, not --insecure" in look(address, None).refusal


def test_something_else_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail ready\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        seen = look(Address("127.0.0.1", listener.getsockname()[1]), None)
        thread.join()
    assert "does not speak HTTP" in seen.refusal


def test_nobody_there_is_no_refusal(tls: Path) -> None:
    seen = look(Address("localhost", free_port()), tls / "ca.crt")
    assert (seen.reached, seen.refusal, seen.clock) == (False, "", "")


@pytest.mark.parametrize(
    ("ahead", "said"),
    [(-60, "60 s ahead of"), (400, "400 s behind"), (200, ""), (-2, "")],
)
def test_clock_is_compared(ahead: float, said: str, tls: Path) -> None:
    with server(tls, ahead) as address:
        clock = look(address, tls / "ca.crt").clock
    seconds = {"60 s ahead of": ("60 s", "59 s", "58 s"), "400 s behind": ("400 s", "399 s")}
    assert bool(clock) is bool(said)
    assert not said or any(f"{one} {said.split(' ', 2)[2]}" in clock for one in seconds[said])

"""Requests to a server: again while it is away, and otherwise an error in words."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse
from flwr.proto.message_pb2 import Message
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata

from fedsafe.deployment.client import fleet_client as module
from fedsafe.deployment.client.fleet_client import (
    FleetClient,
    RequestFailedError,
    SessionEndedError,
)
from fedsafe.deployment.server import certs

GOOD = (200, PullMessagesResponse(messages_list=[Message()]).SerializeToString())


class Server:
    """An HTTP server that answers as it is told, one request after the other."""

    def __init__(self, tls: Path | None = None) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                status, body = outer.answers.pop(0)
                if not status:  # hang up without a word
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / certs.SERVER, tls / certs.SERVER_KEY)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)


class Caller:
    """A node's calls, with what it was told of them."""

    def __init__(self, address: str, authority: bytes | None = None) -> None:
        self.told: list[str] = []
        key = ec.generate_private_key(ec.SECP384R1())
        self.calls = FleetClient(
            address,
            authority,
            key,
            lost=lambda: self.told.append("lost"),
            found=lambda: self.told.append("found"),
        )

    def pull(self, most: float | None = None) -> Any:
        return self.calls(self.calls.fleet.PullMessages, PullMessagesRequest(), most)

    def fail(self, kind: type[Exception]) -> str:
        with pytest.raises(kind) as caught:
            self.pull(most=0.1)
        return str(caught.value)


def test_an_answer_comes_back(server: Server) -> None:
    server.answers = [GOOD]
    caller = Caller(server.address)
    assert len(caller.pull().messages_list) == 1
    assert caller.told == []


def test_requests_are_signed_and_say_which_flower_this_is(server: Server) -> None:
    server.answers = [GOOD]
    Caller(server.address).pull()
    (headers,) = server.headers
    version = RuntimeVersionMetadata.from_local_component("SuperNode").as_metadata()
    assert {name: headers[name] for name, _ in version} == dict(version)
    assert any("signature" in name for name in headers)


@pytest.mark.parametrize("status", [408, 502, 503, 504])
def test_a_server_that_is_away_is_asked_again(server: Server, status: int) -> None:
    server.answers = [(status, b"")] * 3 + [GOOD]
    caller = Caller(server.address)
    caller.pull()
    assert caller.told == ["lost", "lost", "lost", "found"]


def test_a_server_that_nobody_hears_of_is_given_up_in_time() -> None:
    server = Server()
    address = server.address
    server.close()
    caller = Caller(address)
    assert "refused" in caller.fail(RequestFailedError)
    assert set(caller.told) == {"lost"}


def test_a_server_that_does_not_know_the_session_ends_it(server: Server) -> None:
    server.answers = [(401, b"{}")]
    caller = Caller(server.address)
    with pytest.raises(SessionEndedError) as caught:
        caller.pull()
    assert caught.value.kind == "session"


def test_another_version_of_flower_ends_the_session(server: Server) -> None:
    error = FlowerError(ApiErrorCode.RUNTIME_VERSION_INCOMPATIBLE, "").to_json("too old")
    server.answers = [(412, json.dumps(error).encode())]
    with pytest.raises(SessionEndedError) as caught:
        Caller(server.address).pull()
    assert caught.value.kind == "version"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (412, json.dumps(FlowerError(2004, "").to_json("Not now.")).encode(), "Not now."),
        (413, b'{"detail": "a reply of 900 objects; at most 260 are taken"}', "a reply of 900"),
        (409, b'{"detail": "not yours"}', "not yours"),
        (403, b"<html>", "HTTP 403"),
        (500, b'{"detail": "of a run that it does not know"}', "of a run that"),
        (400, b"[]", "HTTP 400"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(
    server: Server, status: int, body: bytes, said: str
) -> None:
    server.answers = [(status, body)]
    assert Caller(server.address).fail(RequestFailedError).startswith(said)


def test_what_is_no_answer_of_flowers_is_lost(server: Server) -> None:
    server.answers = [(200, b"<html>not Flower</html>")]
    assert Caller(server.address).fail(RequestFailedError)


def test_a_request_is_not_sent_elsewhere(server: Server) -> None:
    server.answers = [(307, b""), GOOD]
    assert Caller(server.address).fail(RequestFailedError) == "HTTP 307"
    assert len(server.answers) == 1


def test_a_request_whose_answer_was_lost_is_made_again(server: Server) -> None:
    server.answers = [(0, b""), GOOD]
    caller = Caller(server.address)
    caller.pull()
    assert caller.told == ["lost", "found"]


@pytest.fixture
def authority(tmp_path: Path) -> Callable[[str], Path]:
    """Make certificates of an authority by name."""

    def make(name: str) -> Path:
        certs.init(tmp_path / name, ["127.0.0.1"], clients=0, days=1)
        return tmp_path / name

    return make


def test_a_server_is_known_by_its_certificate(authority: Callable[[str], Path]) -> None:
    home = authority("a")
    server = Server(home)
    server.answers = [GOOD]
    Caller(server.address, (home / certs.CA).read_bytes()).pull()
    server.close()


def test_another_server_in_its_place_ends_the_session(authority: Callable[[str], Path]) -> None:
    server = Server(authority("a"))
    caller = Caller(server.address, (authority("b") / certs.CA).read_bytes())
    with pytest.raises(SessionEndedError) as caught:
        caller.pull()
    server.close()
    assert (caught.value.kind, caller.told) == ("trust", [])

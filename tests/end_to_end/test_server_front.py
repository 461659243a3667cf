"""What a server lets through: registered clients' interface, over TLS, in bounded memory."""

import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supernode.fleet_http_client import FleetHttpClient

from fedsafe.deployment.child_processes import wait_until
from fedsafe.deployment.server import certs
from fedsafe.deployment.server.control import Control
from fedsafe.deployment.server.nginx import nginx
from fedsafe.deployment.server.superlink import node_id
from tests.doubles.deployment import Client, adapter, ask, pieces, status_of, tree
from tests.doubles.place import Place, server_machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),  # Flower's own
    pytest.mark.skipif(nginx() is None, reason="nginx is not installed (apt: nginx-light)"),
]
MIB = 1024**2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with server_machine(tmp_path_factory.mktemp("server")) as place:
        place.open_front()
        yield place


@pytest.fixture
def http(place: Place) -> Iterator[httpx.Client]:
    """A stranger who trusts the authority and holds no key."""
    context = ssl.create_default_context(cafile=place.ca)
    with httpx.Client(base_url=f"https://{place.outer}", verify=context) as client:
        yield client


# --- The front ------------------------------------------------------------------------------


def test_a_registered_client_gets_through(place: Place) -> None:
    client = place.client(0)
    assert client.activate() == node_id(client.key)


@pytest.mark.parametrize(
    "path",
    [
        "/", "/docs", "/openapi.json", "/health", "/v1/fleet", "/v1/control/start-run",
        "/v1/control/list-runs", "/v1/control/register-node", "/v1/runtime/acquire-task",
        "/v1/runtime/push-object", "/V1/control/list-runs", "//v1/control/list-runs",
        "/v1/fleet/../control/list-runs", "/v1/fleet/..%2fcontrol/list-runs",
        "/v1/fleet/%2e%2e/runtime/acquire-task", "/v1/fleet/./../control/list-runs",
    ],
)  # fmt: skip
def test_every_other_path_stays_closed(place: Place, path: str) -> None:
    context = ssl.create_default_context(cafile=place.ca)
    host, _, port = place.outer.partition(":")
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        tls.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nfedsafe-token: token\r\nConnection: close\r\n"
            "Content-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n".encode()
        )
        assert tls.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_no_error_names_a_version(http: httpx.Client) -> None:
    answer = http.get("/")
    assert "nginx/" not in answer.headers["server"] + answer.text


def test_only_posts_reach_the_superlink(http: httpx.Client) -> None:
    assert http.get("/v1/fleet/pull-messages").status_code == 403


def test_a_body_that_is_too_large_is_refused(http: httpx.Client) -> None:
    assert http.post("/v1/fleet/pull-messages", content=bytes(128 * 1024)).status_code == 413


def test_an_older_tls_is_refused(place: Place) -> None:
    context = ssl.create_default_context(cafile=place.ca)
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    host, _, port = place.outer.partition(":")
    with socket.create_connection((host, int(port)), 5) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=host)


def test_a_client_refuses_a_server_of_another_authority(place: Place, tmp_path: Path) -> None:
    certs.init(tmp_path, ["127.0.0.1"], clients=1, days=1)
    stranger = place.connect(place.home / "certs/keys/node0", tmp_path / certs.CA)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        stranger.activate()


def test_a_key_that_is_not_listed_is_refused(place: Place) -> None:
    stranger = place.connect(ec.generate_private_key(ec.SECP384R1()))
    assert status_of(stranger.activate) == 412


def test_a_client_without_a_key_is_refused(place: Place) -> None:
    client = place.client(0)
    client.fleet.close()
    client.fleet = FleetHttpClient.from_server_address(
        place.outer, False, place.ca.read_bytes(), []
    )
    assert status_of(client.activate) == 401


def test_a_client_cannot_speak_for_another(place: Place) -> None:
    mine, other = place.client(0), place.member(1)
    mine.node = other.node
    assert status_of(mine.pull) == 401


def test_half_open_connections_do_not_keep_others_out(place: Place) -> None:
    host, _, port = place.outer.partition(":")
    idle = [socket.create_connection((host, int(port)), 5) for _ in range(100)]
    try:
        assert place.client(0).activate()
    finally:
        for one in idle:
            one.close()


def test_control_asks_for_the_token_even_on_this_machine(place: Place) -> None:
    stranger = Control(place.inner, "guess", place.home / "inside" / certs.CA)
    assert not stranger.ready()
    stranger.close()


# --- The guard ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grid(place: Place) -> Iterator[Any]:
    """The server's side of a run."""
    with place.run() as grid:
        yield grid


@pytest.fixture
def asked(place: Place, grid: Any) -> tuple[Client, Any]:
    """A client and a question of the server's to it, with an adapter of 1 MiB."""
    client = place.member(2)
    ask(grid, client.node, "train", adapter(MIB))
    return client, client.question()


def test_an_honest_reply_reaches_the_server(place: Place, grid: Any) -> None:
    client = place.member(2)
    message = ask(grid, client.node, "train", adapter(MIB))
    client.answer(client.question(), adapter(MIB, seed=1))
    (got,) = grid.pull_messages([message])
    assert got.content["arrays"]["lora"].numpy().nbytes == MIB


def test_memory_stays_bounded_whatever_is_pushed(place: Place, asked: Any) -> None:
    client, question = asked
    made = pieces(120, MIB)
    before = place.memory()
    answer = client.offer(question, tree(list(made)[:100]))
    refused = [
        status_of(lambda: client.push(question, answer.session_id, name, content))  # noqa: B023
        for name, content in made.items()
    ]
    grown = place.memory() - before
    assert set(refused[10:100]) == {413}
    assert set(refused[100:]) == {409}
    assert grown < 48 * MIB, f"{grown / MIB:.0f} MiB kept of 120 sent"


def test_a_tree_of_too_many_objects_is_refused(asked: Any) -> None:
    client, question = asked
    ids = [f"{n:064x}" for n in range(20_000)]
    assert status_of(lambda: client.offer(question, tree(ids))) == 413


def test_a_tree_of_countless_objects_does_not_get_in(place: Place, asked: Any) -> None:
    client, question = asked
    ids = [f"{n:064x}" for n in range(150_000)]
    before = place.memory()
    assert status_of(lambda: client.offer(question, tree(ids))) == 413
    assert place.memory() - before < 16 * MIB


def test_a_second_different_reply_is_refused(asked: Any) -> None:
    client, question = asked
    client.offer(question, tree(["0" * 64]))
    assert status_of(lambda: client.offer(question, tree(["1" * 64]))) == 409


def test_announcing_without_end_is_refused(place: Place, asked: Any) -> None:
    client, question = asked
    ids = [f"{n:064x}" for n in range(200)]
    said = [status_of(lambda: client.offer(question, tree(ids))) for _ in range(12)]
    assert said == [200] * 8 + [429] * 4


@pytest.mark.parametrize(
    "lie",
    [
        {"src_node_id": 1},
        {"src_node_id": 1, "reply_to_message_id": ""},
        {"reply_to_message_id": ""},
        {"reply_to_message_id": "0" * 64},
        {"message_id": "0" * 64},
    ],
    ids=lambda lie: " ".join(f"{name}={str(value)[:4]}" for name, value in lie.items()),
)
def test_a_message_that_is_no_reply_of_its_own_is_refused(asked: Any, lie: dict[str, Any]) -> None:
    client, question = asked
    assert status_of(lambda: client.offer(question, tree(["0" * 64]), **lie)) == 409


def test_a_reply_to_anothers_question_is_refused(place: Place, asked: Any) -> None:
    _, question = asked
    other = place.member(1)
    assert status_of(lambda: other.offer(question, tree(["0" * 64]))) == 409


def test_a_long_message_beside_its_objects_is_refused(asked: Any) -> None:
    client, question = asked
    assert status_of(lambda: client.offer(question, tree(["0" * 64]), group_id="x" * MIB)) == 413


def test_the_server_does_not_wait_for_a_reply_that_never_comes_whole(
    place: Place, grid: Any
) -> None:
    client = place.member(2)
    message = ask(grid, client.node, "train", adapter(MIB))
    client.offer(client.question(), tree(["2" * 64]))
    begun = time.monotonic()
    assert list(grid.pull_messages([message])) == []
    assert time.monotonic() - begun < 2


def test_a_client_that_was_killed_comes_back_at_once(place: Place) -> None:
    client = place.client(0)
    assert client.activate() == client.activate()


def test_a_second_client_with_the_key_of_one_at_work_is_refused(place: Place) -> None:
    place.member(1).pull()
    assert status_of(place.client(1).activate) == 412


def test_clients_go_on_when_the_superlink_was_killed(place: Place) -> None:
    """They keep their ids, and are told to wait until it knows all of them again."""
    client = place.member(0)
    place.link.kill()
    assert status_of(client.pull) == 502
    place.link.start()
    assert wait_until(place.control.ready, 60), place.link.last_log_line()
    assert status_of(client.pull) == 503
    place.register()
    assert status_of(client.pull) == 200

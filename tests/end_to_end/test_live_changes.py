"""A running server's keys and certificate change: each takes effect within seconds, no stop."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from cryptography import x509

from fedsafe.deployment.child_processes import wait_until
from fedsafe.deployment.server import certificate_signing, certs, client_keys
from fedsafe.deployment.server.nginx import nginx
from tests.doubles.deployment import Client, status_of
from tests.end_to_end.test_server_fleet import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),  # Flower's own
    pytest.mark.skipif(nginx() is None, reason="nginx is not installed (apt: nginx-light)"),
]
SECONDS = 10.0
"""In which a change has to take effect; a busy machine is slower than the two that are usual."""
REFUSED = 412


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of three clients, of whom two have keys, that waits for them."""
    server = Server(tmp_path_factory.mktemp("live"), "federation.clients=3", "--allow-fewer")
    server.start()
    server.wait_for_clients(1)
    yield server
    assert server.process is not None
    server.process.terminate()
    server.end()
    assert server.all_gone(15)


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[str], Client]]:
    opened: list[Client] = []

    def connect(name: str) -> Client:
        key = server.certs / "keys" / name
        opened.append(Client.connect(server.address, server.certs / certs.CA, key))
        return opened[-1]

    yield connect
    for client in opened:
        client.fleet.close()


def becomes(client: Client, status: int) -> float:
    """Wait until a client's request is answered so; return the seconds it took."""
    begun = time.monotonic()
    assert wait_until(lambda: status_at_last(client.activate) == status, SECONDS)
    return time.monotonic() - begun


def status_at_last(call: Callable[[], object]) -> int:
    """Return the status of a call; 0 where the front is just being started again."""
    try:
        return status_of(call)
    except httpx.TransportError:
        return 0


def until_refused(call: Callable[[], None]) -> int:
    """Call again and again; return the status of the first refusal."""
    while (status := status_of(call)) == 200:
        pass
    return status


def notes(server: Server) -> str:
    lines = (server.run / "events.jsonl").read_text().splitlines()
    return "\n".join(json.loads(line)["message"] for line in lines)


def shown(server: Server) -> x509.Certificate | None:
    """Return the certificate that the server shows; None while its front is started again."""
    context = ssl.create_default_context(cafile=server.certs / certs.CA)
    host, _, port = server.address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), 5) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            found = tls.getpeercert(binary_form=True)
    except OSError:
        return None
    assert found is not None
    return x509.load_der_x509_certificate(found)


def test_a_revoked_key_is_refused_and_the_others_are_not(
    server: Server, connect: Callable[[str], Client]
) -> None:
    good, bad = connect("node0"), connect("node1")
    assert (status_of(good.activate), status_of(bad.activate)) == (200, 200)
    client_keys.revoke(server.certs, "node1")
    assert becomes(bad, REFUSED) < SECONDS
    assert good.beat()
    client_keys.restore(server.certs, "node1")
    becomes(bad, 200)
    assert "The key 'node1' is revoked: its client is refused from now on." in notes(server)
    assert "The key 'node1' is restored: its client may join." in notes(server)


def test_a_key_that_waits_for_work_is_cut_off(
    server: Server, connect: Callable[[str], Client]
) -> None:
    bad = connect("node1")
    assert status_of(bad.activate) == 200

    def pull() -> None:
        for question in bad.pull().messages_list:
            bad.confirm(question)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(until_refused, pull)
        time.sleep(3.0)  # it has been asked who it is, and waits for other work
        assert not waiting.done()
        client_keys.revoke(server.certs, "node1")
        assert waiting.result(SECONDS) in {408, REFUSED}
    client_keys.restore(server.certs, "node1")
    becomes(bad, 200)


def test_a_removed_key_is_refused(server: Server, connect: Callable[[str], Client]) -> None:
    bad = connect("node1")
    assert status_of(bad.activate) == 200
    (server.certs / certs.ALLOW / "node1.pub").unlink()
    becomes(bad, REFUSED)
    client_keys.restore(server.certs, "node1")
    becomes(bad, 200)


def test_a_new_key_joins_and_takes_the_free_number(
    server: Server, connect: Callable[[str], Client]
) -> None:
    client_keys.add(server.certs, "late", None)
    late = connect("late")
    becomes(late, 200)
    assert wait_until(lambda: '"late"' in (server.run / "keys.jsonl").read_text(), SECONDS)
    rows = [json.loads(line) for line in (server.run / "keys.jsonl").read_text().splitlines()]
    assert {row["name"]: row["number"] for row in rows} == {"node0": 0, "node1": 1, "late": 2}


def test_a_renewed_certificate_is_shown_without_a_stop(
    server: Server, connect: Callable[[str], Client]
) -> None:
    client = connect("node0")
    assert status_of(client.activate) == 200
    stay = (server.meet("superlink.json"), server.meet("flwr-serverapp"))
    before = shown(server)
    certs.renew(server.certs, [], days=200)
    assert wait_until(lambda: shown(server) not in {None, before}, SECONDS)
    assert status_at_last(client.beat) == 200
    assert (server.meet("superlink.json"), server.meet("flwr-serverapp")) == stay
    assert "The server's certificate was renewed" in notes(server)


def test_a_broken_list_and_a_broken_certificate_change_nothing(
    server: Server, connect: Callable[[str], Client]
) -> None:
    client = connect("node0")
    stray, certificate = server.certs / certs.ALLOW / "stray.pub", server.certs / certs.SERVER
    before = certificate.read_bytes()
    stray.write_text("no key")
    certificate.write_bytes(before[: len(before) // 2])
    assert wait_until(lambda: "The keys stay as they were." in notes(server), SECONDS)
    assert wait_until(lambda: "goes on with the certificate that it had" in notes(server), SECONDS)
    assert status_of(client.activate) == 200
    stray.unlink()
    certificate.write_bytes(before)


def test_a_certificate_that_ends_soon_is_told_of(server: Server) -> None:
    from fedsafe.deployment.server.reloading import WARN_DAYS, ending

    assert ending(server.certs) == ""
    certs.renew(server.certs, [], days=WARN_DAYS - 1)
    assert "Renew it while the server runs: fedsafe certs renew" in ending(server.certs)
    certs.renew(server.certs, [], days=90)
    assert certificate_signing.read(server.certs / certs.SERVER) is not None

"""The SuperLink's launcher: what it asks of Flower, and what it adds to it."""

from pathlib import Path

import pytest
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.superlink.federation import NoOpFederationManager

from fedsafe.deployment.server import superlink
from fedsafe.deployment.server.superlink import INTERVAL, QUIET, Settings, SuperLinkNodes, node_id
from fedsafe.flower.superlink_hooks import derive_node_ids

KEYS = [f"key {number}".encode() for number in range(3)]


@pytest.fixture
def state() -> InMemoryLinkState:
    """Flower's own list of nodes, with ours in it."""
    found = InMemoryLinkState(NoOpFederationManager(), InMemoryObjectStore())
    for key in KEYS:
        found.create_node("", "", key, INTERVAL)
    return found


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    settings = Settings("127.0.0.1", 8000, "token", "secret", "tls", "allow", 5)
    settings.write(tmp_path / "file")
    assert superlink.read(tmp_path / "file") == settings
    assert (tmp_path / "file").stat().st_mode & 0o077 == 0


def test_keys_mean_authentication_and_tls() -> None:
    command = Settings("127.0.0.1", 8000, "t", "s", tls="/x", allow="/y").command()
    assert "--enable-supernode-auth" in command
    assert "--insecure" not in command


def test_without_tls_it_says_so() -> None:
    assert "--insecure" in Settings("127.0.0.1", 8000, "t", "s").command()


def test_nothing_is_installed_at_run_time() -> None:
    command = Settings("127.0.0.1", 8000, "t", "s").command()
    assert "--disable-runtime-dependency-installation" in command


def test_flower_takes_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from flwr.superlink.cli.flower_superlink import _parse_args_run_superlink

    command = Settings("127.0.0.1", 8000, "t", "s", tls="/x", allow="/y").command()
    found = _parse_args_run_superlink().parse_args(command[1:])
    assert (found.port, found.isolation, found.enable_supernode_auth) == (8000, "process", True)


def test_a_nodes_id_comes_from_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InMemoryLinkState, "create_node", InMemoryLinkState.create_node)
    derive_node_ids(node_id)
    found = InMemoryLinkState(NoOpFederationManager(), InMemoryObjectStore())
    assert [found.create_node("", "", key, INTERVAL) for key in KEYS] == [
        node_id(key) for key in KEYS
    ]


def test_ids_are_of_flowers_kind() -> None:
    ids = {node_id(bytes([number])) for number in range(200)}
    assert len(ids) == 200
    assert all(1 < one < 2**64 for one in ids)


def test_it_is_ready_when_every_key_is_registered() -> None:
    known: dict[bytes, int] = {}
    ready = superlink._ready(known.get, frozenset(KEYS))
    for key in KEYS:
        assert not ready()
        known[key] = 1
    assert ready()


def test_it_is_ready_without_keys() -> None:
    assert superlink._ready(lambda key: None, frozenset())()


def online(state: InMemoryLinkState) -> set[int]:
    return {node.node_id for node in state.get_node_info(statuses=["online"])}


def test_asking_for_work_brings_a_node_online(state: InMemoryLinkState) -> None:
    node = state.get_node_id_by_public_key(KEYS[0])
    assert node is not None
    SuperLinkNodes(state).alive(node)
    assert online(state) == {node}


@pytest.mark.parametrize(("later", "left"), [(QUIET - 1, False), (QUIET + 1, True)])
def test_a_node_is_let_in_again_once_it_is_quiet(
    state: InMemoryLinkState, later: float, left: bool
) -> None:
    time = [100.0]
    nodes = SuperLinkNodes(state, lambda: time[0])
    node = state.get_node_id_by_public_key(KEYS[0])
    assert node is not None
    nodes.alive(node)
    time[0] += later
    nodes.back(KEYS[0])
    assert state.activate_node(node, INTERVAL) is left


def test_a_stranger_is_not_let_in(state: InMemoryLinkState) -> None:
    SuperLinkNodes(state).back(b"no key")
    assert online(state) == set()

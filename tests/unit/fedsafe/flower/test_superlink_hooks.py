"""Hooks into the SuperLink: each has its effect on Flower's own, or is an error."""

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.server.superlink.linkstate import in_memory_linkstate
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.superlink import extensions, main
from flwr.superlink.federation import NoOpFederationManager

from fedsafe.errors import LaunchError
from fedsafe.flower.internals import create_app
from fedsafe.flower.superlink_hooks import (
    DRAW,
    derive_node_ids,
    hand_out_again,
    link_state,
    on_app_created,
)
from tests.doubles.requests import adapter, request
from tests.doubles.superlink import superlink

KEYS = [f"key {number}".encode() for number in range(3)]


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InMemoryLinkState, "create_node", InMemoryLinkState.create_node)
    monkeypatch.setattr(extensions, "configure_app", extensions.configure_app)


@pytest.fixture
def state() -> InMemoryLinkState:
    return InMemoryLinkState(NoOpFederationManager(), InMemoryObjectStore())


def test_app_is_handed_over_before_it_serves() -> None:
    seen: list[Any] = []
    on_app_created(seen.append)
    assert [create_app()] == seen
    assert isinstance(link_state(seen[0]), InMemoryLinkState)


def test_app_that_is_made_without_the_hook_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> None:
        """Calls nobody."""

    monkeypatch.setattr(main, "create_app", made)
    with pytest.raises(LaunchError, match=r"a call of flwr\.superlink\.extensions\.configure_app"):
        on_app_created(lambda app: None)


@pytest.mark.parametrize(
    ("module", "name"),
    [("flwr.superlink.extensions", "configure_app"), ("flwr.superlink.main", "create_app")],
)
def test_hook_that_is_gone_is_an_error(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(importlib.import_module(module), name)
    with pytest.raises(LaunchError, match=f"lacks {module}.{name}"):
        on_app_created(lambda app: None)


def test_ids_come_from_keys(state: InMemoryLinkState) -> None:
    derive_node_ids(lambda key: 100 + key[-1])
    found = [state.create_node("", "", key, 30.0) for key in KEYS]
    assert found == [100 + key[-1] for key in KEYS]


def test_other_ids_are_drawn_as_before(state: InMemoryLinkState) -> None:
    drawn = getattr(in_memory_linkstate, DRAW)
    derive_node_ids(lambda key: 7)
    state.create_node("", "", KEYS[0], 30.0)
    assert getattr(in_memory_linkstate, DRAW) is drawn


def test_ids_that_are_drawn_in_another_way_are_an_error(
    state: InMemoryLinkState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InMemoryLinkState, "create_node", lambda *_: 12345)
    derive_node_ids(lambda key: 7)
    with pytest.raises(LaunchError, match=DRAW):
        state.create_node("", "", KEYS[0], 30.0)


def test_message_is_handed_out_again(flower_task: None) -> None:
    link = superlink(1)
    node = link.nodes[0]
    message = request(adapter(), "float32", node.node)
    message.metadata.ttl = 600
    (sent,) = link.grid.push_messages([message])
    assert [len(node.questions()) for _ in range(2)] == [1, 0]
    assert hand_out_again(link.state, sent)
    assert [one.metadata.message_id for one in node.questions()] == [sent]


def test_message_that_is_gone_is_not_handed_out_again(state: InMemoryLinkState) -> None:
    assert not hand_out_again(state, "gone")


def test_app_without_a_state_is_an_error() -> None:
    with pytest.raises(AttributeError):
        link_state(SimpleNamespace(state=SimpleNamespace()))

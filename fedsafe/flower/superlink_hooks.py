"""Hooks into Flower's SuperLink process: its app, its node ids, its stored messages.

Each fails where the installed flwr would take it and do nothing with it.
"""

from collections.abc import Callable, MutableMapping
from importlib import import_module
from typing import Any

from fedsafe.flower.internals import HOMES, load, unsupported

DRAW = "generate_rand_int_from_bytes"
"""What Flower draws a new node's id with."""


def on_app_created(configure: Callable[[Any], None]) -> None:
    """Have the SuperLink's FastAPI app handed to a function before it serves.

    Raises:
        LaunchError: The installed flwr has no such hook, or does not call it.
    """
    load("configure_app")
    home, _ = HOMES["configure_app"]
    if "configure_app" not in load("create_app").__code__.co_names:
        raise unsupported([f"a call of {home}.configure_app in flwr.superlink.main.create_app"])
    setattr(import_module(home), "configure_app", configure)  # noqa: B010 - mypy forbids the other


def link_state(app: Any) -> Any:
    """Return the SuperLink's state, of its FastAPI app."""
    return app.state.linkstate_factory.state()


def request_of(scope: MutableMapping[str, Any]) -> Any:
    """Return the protobuf message of a request in an ASGI scope; None where there is none."""
    return scope.get("state", {}).get("protobuf_request")


def answer_of(scope: MutableMapping[str, Any]) -> Any:
    """Return the protobuf message of the answer in an ASGI scope; None where there is none."""
    return scope.get("state", {}).get("protobuf_response")


def derive_node_ids(node_id: Callable[[bytes], int]) -> None:
    """Give nodes an id that depends on their public key, instead of a random one.

    Args:
        node_id: Returns the id for a public key (PEM).

    Raises:
        LaunchError: The installed flwr makes ids in another way; also when a node registers.
    """
    state, drawn = load("InMemoryLinkState"), load(DRAW)
    home = import_module(HOMES[DRAW][0])
    create = state.create_node

    def create_node(
        self: Any, owner_aid: str, owner_name: str, public_key: bytes, *rest: Any, **more: Any
    ) -> int:
        derived = node_id(public_key)
        with self.lock:
            setattr(home, DRAW, lambda *_, **__: derived)
            try:
                given = create(self, owner_aid, owner_name, public_key, *rest, **more)
            finally:
                setattr(home, DRAW, drawn)
        if given != derived:
            raise unsupported([f"a call of {DRAW} in InMemoryLinkState.create_node"])
        return int(given)

    state.create_node = create_node


def hand_out_again(state: Any, message: str) -> bool:
    """Have the SuperLink hand a message out again; by itself it hands each out once.

    Args:
        state: The SuperLink's state.
        message: Id of a message to a node.

    Returns:
        Whether the SuperLink still has it.
    """
    with state.lock:
        stored = state.message_ins_store.get(message)
        if stored is not None:
            stored.metadata.delivered_at = ""
        return stored is not None

"""Fleet API session of one node: activate, heartbeat, pull messages, push replies.

Flower's own messages, so that any SuperLink of its version takes them. Knows nothing of
what the messages are about.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Message

from fedsafe.deployment.client.fleet_client import (
    FleetClient,
    RequestFailedError,
    SessionEndedError,
)
from fedsafe.deployment.client.identity import Address, plain_pem
from fedsafe.flower.internals import (
    HEARTBEAT_DEFAULT_INTERVAL,
    ActivateNodeRequest,
    DeactivateNodeRequest,
    HeartbeatSender,
    Node,
    ObjectPushError,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
    SendNodeHeartbeatRequest,
    get_all_nested_objects,
    get_object_tree,
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
    message_to_proto,
    public_key_to_bytes,
    pull_and_inflate_object_from_tree,
    push_objects,
    remove_content_from_message,
)
from fedsafe.flower.task_messages import set_message_id

WHOLE_SECONDS = 600.0
"""How long a message may take to come whole."""
ANSWER_SECONDS = 300.0
"""How long a reply is offered to a server that fails to take it."""


class FleetConnection:
    """One node's connection to the SuperLink, over successive sessions.

    Args:
        calls: Its way to the server.
        key: Its public key, PEM.
    """

    def __init__(self, calls: FleetClient, key: bytes) -> None:
        self._calls, self._key = calls, key
        self._node: Node | None = None
        self._heart: HeartbeatSender | None = None
        self._unknown = threading.Event()
        """The server does not know this session any more."""

    def open(self) -> int:
        """Activate the node and return its node id.

        A server that keeps no list of keys is told the key first.

        Raises:
            SessionEndedError: The server does not let it in.
        """
        try:
            self._node = self._activate()
        except RequestFailedError:
            request = RegisterNodeFleetRequest(public_key=self._key)
            try:
                self._calls(self._calls.fleet.RegisterNode, request)
                self._node = self._activate()
            except RequestFailedError as error:
                known = error.status == httpx.codes.PRECONDITION_FAILED
                raise SessionEndedError("key" if known else "refused", str(error)) from None
        self._unknown.clear()
        self._heart = HeartbeatSender(self._beat)
        self._heart.start()
        return int(self._node.node_id)

    def _activate(self) -> Node:
        request = ActivateNodeRequest(
            public_key=self._key, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL
        )
        return Node(node_id=self._calls(self._calls.fleet.ActivateNode, request).node_id)

    def close(self) -> None:
        """Deactivate the node, if the server can be reached at once."""
        if self._heart is not None and self._heart.is_running:
            self._heart.stop()
        node, self._node = self._node, None
        if node is not None:
            with suppress(Exception):  # whatever it answers
                self._calls.fleet.DeactivateNode(DeactivateNodeRequest(node_id=node.node_id))

    def _beat(self) -> bool:
        """Send a heartbeat; False has it sent again soon."""
        request = SendNodeHeartbeatRequest(
            node=self._node, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL
        )
        try:
            known = bool(self._calls.fleet.SendNodeHeartbeat(request).success)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.UNAUTHORIZED:
                return False
            known = False
        except SessionEndedError:
            known = False
        except Exception:  # noqa: BLE001 - whatever came, this thread goes on
            return False
        if not known:  # whoever asks for work next hears of it
            self._unknown.set()
        return True

    def next(self) -> Message | None:
        """Pull the next message; None if there is none. `fedsafe server` answers by long polling.

        Raises:
            SessionEndedError: The session is over.
            RequestFailedError: It refuses, or a message did not come whole. `fedsafe server`
                hands it out again, for it was not confirmed.
        """
        if self._unknown.is_set():
            raise SessionEndedError("session")
        fleet, request = self._calls.fleet, PullMessagesRequest(node=self._node)
        answer = self._calls(fleet.PullMessages, request)
        if not answer.messages_list:
            return None
        try:
            return self._whole(answer)
        except SessionEndedError:
            raise
        except (
            RequestFailedError
        ) as error:  # of this message, as of a run that is over: no refusal of us
            raise RequestFailedError(str(error)) from None
        except Exception as error:  # noqa: BLE001 - whatever a server sent, the node goes on
            raise RequestFailedError(f"{type(error).__name__}: {error}"[:200]) from None

    def _whole(self, answer: Any) -> Message:
        """Pull a message's objects and return it complete."""
        fleet = self._calls.fleet
        run, tree = answer.messages_list[0].metadata.run_id, answer.message_object_trees[0]
        pull = partial(self._calls, fleet.PullObject)
        confirm = partial(self._calls, fleet.ConfirmMessageReceived)
        assert self._node is not None
        message = pull_and_inflate_object_from_tree(
            tree,
            make_pull_object_fn_protobuf(pull, self._node, run),
            make_confirm_message_received_fn_protobuf(confirm, self._node, run),
            return_type=Message,
            max_time=WHOLE_SECONDS,
        )
        set_message_id(message, tree.object_id)
        return message

    def answer(self, reply: Message, seconds: float) -> None:
        """Push a reply.

        Args:
            reply: To a message that came.
            seconds: How long the work took.

        Raises:
            SessionEndedError: The session is over.
            RequestFailedError: The server does not take it.
        """
        set_message_id(reply, reply.object_id)
        request = PushMessagesRequest(
            node=self._node,
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[get_object_tree(reply)],
            clientapp_runtime_list=[seconds],
        )
        taken = self._calls(self._calls.fleet.PushMessages, request, ANSWER_SECONDS)
        push = partial(self._calls, self._calls.fleet.PushObject, most=ANSWER_SECONDS)
        assert self._node is not None
        try:
            push_objects(
                get_all_nested_objects(reply),
                make_push_object_fn_protobuf(
                    push, self._node, reply.metadata.run_id, taken.session_id
                ),
                object_ids_to_push=set(taken.objects_to_push),
            )
        except ObjectPushError as error:
            raise RequestFailedError(str(error)) from None


def connect(
    server: Address,
    authority: Path | None,
    key: Path,
    lost: Callable[[], None],
    found: Callable[[], None],
) -> FleetConnection:
    """Create a connection to a server, not yet activated.

    Args:
        server: Where it listens.
        authority: Certificate that it is checked by; None: no TLS.
        key: File with this node's private key.
        lost: Called when the server cannot be reached, and at each further try.
        found: Called when it is reached again.

    Raises:
        OSError: The key or the certificate is gone.
    """
    secret: Any = load_ssh_private_key(key.read_bytes(), None)
    root = None if authority is None else plain_pem(authority)
    calls = FleetClient(str(server), root, secret, lost=lost, found=found)
    return FleetConnection(calls, public_key_to_bytes(secret.public_key()))

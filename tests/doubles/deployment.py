"""A SuperLink behind its front, with clients and a server that speak Flower's own messages.

Only the apps are ours here: what a client or a server *does* is up to the test.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.serde import run_from_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.interceptors.http.superexec_auth import SuperExecAuthHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufRequestContext
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

ACQUIRE = "/flwr.proto.Runtime/AcquireTask"


@dataclass
class Client:
    """One client that holds a key and knows Flower's protocol."""

    fleet: FleetHttpClient
    key: bytes
    node: int = 0

    @classmethod
    def connect(
        cls, address: str, ca: Path, private: Path | ec.EllipticCurvePrivateKey
    ) -> "Client":
        """Return a client that has not yet said a word."""
        key = private
        if isinstance(private, Path):
            key = load_ssh_private_key(private.read_bytes(), None)  # type: ignore[assignment]
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        fleet = FleetHttpClient.from_server_address(
            address, False, ca.read_bytes(), [NodeAuthHttpInterceptor(key, key.public_key())]
        )
        return cls(fleet, public_key_to_bytes(key.public_key()))

    def activate(self) -> int:
        """Come online, and return the node's id."""
        request = ActivateNodeRequest(public_key=self.key, heartbeat_interval=30.0)
        self.node = self.fleet.ActivateNode(request).node_id
        return self.node

    def pull(self) -> PullMessagesResponse:
        """Ask for work."""
        return self.fleet.PullMessages(PullMessagesRequest(node=Node(node_id=self.node)))

    def question(self, seconds: float = 10.0) -> Any:
        """Return the next message of the server's."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.pull().messages_list:
                return found[0]
            time.sleep(0.1)
        raise AssertionError("the server sent nothing")

    def offer(self, question: Any, tree: ObjectTree, **metadata: Any) -> PushMessagesResponse:
        """Announce a reply whose objects are those of a tree."""
        asked = question.metadata
        said = type(asked)(
            run_id=asked.run_id,
            message_id=tree.object_id,
            src_node_id=self.node,
            dst_node_id=asked.src_node_id,
            reply_to_message_id=asked.message_id,
            message_type=asked.message_type,
            group_id=asked.group_id,
            created_at=time.time(),
            ttl=asked.created_at + asked.ttl - time.time(),
        )
        for name, value in metadata.items():
            setattr(said, name, value)
        message = type(question)(metadata=said)
        message.content.SetInParent()
        return self.fleet.PushMessages(
            PushMessagesRequest(
                node=Node(node_id=self.node),
                messages_list=[message],
                message_object_trees=[tree],
                clientapp_runtime_list=[0.1],
            )
        )

    def beat(self) -> bool:
        """Say that it is there."""
        request = SendNodeHeartbeatRequest(node=Node(node_id=self.node), heartbeat_interval=30.0)
        return bool(self.fleet.SendNodeHeartbeat(request).success)

    def request(self, call: str, message: Any) -> bytes:
        """Return a request of its own as it goes over the wire."""
        made = httpx.Request("POST", f"https://front/v1/fleet/{call}",
                             content=message.SerializeToString(),
                             headers={"content-type": PROTOBUF_MEDIA_TYPE})  # fmt: skip
        context = ProtobufRequestContext(f"/flwr.proto.Fleet/{call}", message, made)
        for one in self.fleet._interceptors:
            one.intercept(context, lambda _: httpx.Response(200))
        lines = [f"POST {made.url.path} HTTP/1.1", *(f"{k}: {v}" for k, v in made.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + made.content

    def confirm(self, question: Any) -> None:
        """Say that it has a message of the server's, so that the SuperLink may forget it."""
        request = ConfirmMessageReceivedRequest(
            node=Node(node_id=self.node),
            run_id=question.metadata.run_id,
            message_object_id=question.metadata.message_id,
        )
        self.fleet.ConfirmMessageReceived(request)

    def answer(self, question: Any, content: RecordDict) -> None:
        """Send a whole reply."""
        reply = Message(content, dst_node_id=1, message_type="train", ttl=60.0)
        reply.metadata.__dict__["_src_node_id"] = self.node
        session = self.offer(question, get_object_tree(reply)).session_id
        for name, one in get_all_nested_objects(reply).items():
            assert self.push(question, session, name, one.deflate())

    def push(self, question: Any, session: str, object_id: str, content: bytes) -> bool:
        """Send an object."""
        request = PushObjectRequest(
            node=Node(node_id=self.node),
            run_id=question.metadata.run_id,
            session_id=session,
            object_id=object_id,
            object_content=content,
        )
        return bool(self.fleet.PushObject(request).stored)


def serve(address: str, ca: bytes, secret: bytes) -> HttpGrid:
    """Take the run that waits, as Flower's launcher does, and return its grid."""
    launcher = RuntimeHttpClient.from_server_address(
        address,
        False,
        ca,
        [SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=[ACQUIRE])],
    )
    token = take_task(launcher)
    launcher.close()
    return begin(HttpGrid(address, False, ca, token=token))


def take_task(launcher: RuntimeHttpClient) -> str:
    """Take the ServerApp's task that waits, and return the token that is shown for it."""
    request = AcquireTaskRequest(supported_task_types=["flwr-serverapp"])
    return str(launcher.AcquireTask(request).token)


def begin(grid: HttpGrid) -> HttpGrid:
    """Take the run that a grid's token is for, and return the grid."""
    answer = grid._runtime_client.PullTaskInput(PullTaskInputRequest())
    TaskIdentity.task_id, TaskIdentity.run_id = answer.task_id, answer.run.run_id
    TaskIdentity.node_id = answer.context.node_id
    grid.set_run(run_from_proto(answer.run))
    return grid


def ask(grid: HttpGrid, node: int, kind: str, content: RecordDict | None = None) -> str:
    """Send a node a message, and return its id."""
    record = content or RecordDict({"config": ConfigRecord({"n": 1})})
    message = Message(record, dst_node_id=node, message_type=kind, ttl=60.0)
    return next(iter(grid.push_messages([message])))


def adapter(size: int, seed: int = 0) -> RecordDict:
    """Return an adapter of so many bytes as it travels."""
    values = np.random.default_rng(seed).standard_normal(size // 4).astype(np.float32)
    return RecordDict({"arrays": ArrayRecord({"lora": Array(values)})})


def status_of(call: Callable[[], object]) -> int:
    """Return the HTTP status that a call is refused with; 200 if it is not."""
    try:
        call()
    except httpx.HTTPStatusError as error:
        return error.response.status_code
    return 200


def pieces(count: int, size: int) -> dict[str, bytes]:
    """Return objects as the SuperLink takes them, each of its own content."""
    made = {}
    for _ in range(count):
        content = b"ArrayChunk  %d\x00" % size + os.urandom(size)
        made[hashlib.sha256(content).hexdigest()] = content
    return made


def tree(ids: list[str]) -> ObjectTree:
    """Return a message's tree with these leaves."""
    root = hashlib.sha256("".join(ids).encode()).hexdigest()
    return ObjectTree(object_id=root, children=[ObjectTree(object_id=one) for one in ids])

"""Flower's own SuperLink in this process, without its network: state, handlers, HTTP grid.

`Nodes` speak to it as SuperNodes do, well or badly: they may push any objects at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Message, RecordDict
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.common.serde import message_to_proto
from flwr.proto import fleet_pb2, message_pb2
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
)
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import HttpGrid
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers


class Runtime:
    """What the HTTP grid speaks to: the SuperLink's own handlers, called directly."""

    def __init__(self, state: InMemoryLinkState, task: Any) -> None:
        self._state, self._task = state, task
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        handlers = {
            "PushMessages": runtime_handlers.push_messages,
            "PullMessages": runtime_handlers.pull_messages,
            "PullObject": runtime_handlers.pull_object,
            "ConfirmMessageReceived": runtime_handlers.confirm_message_received,
            "GetNodes": runtime_handlers.get_nodes,
        }
        if name == "PushObject":
            return self._push_object
        handler: Any = handlers[name]

        def call(request: Any) -> Any:
            self.calls.append(name)
            return handler(request, self._state, self._task)

        return call

    def _push_object(self, request: Any) -> Any:
        stored = self._state.store_object(
            request.run_id, request.session_id, request.object_id, request.object_content
        )
        return message_pb2.PushObjectResponse(stored=stored)


@dataclass
class Uplink:
    """One SuperNode's connection."""

    node: int
    run: int
    state: InMemoryLinkState

    def questions(self) -> list[Message]:
        """Return the messages that wait for this node."""
        return self.state.get_message_ins(self.node, limit=None)

    def announce(self, proto: Any, tree: ObjectTree) -> Any:
        """Push a message's outside and the names of its parts; return the answer."""
        return fleet_handlers.push_messages(
            fleet_pb2.PushMessagesRequest(
                node=Node(node_id=self.node), messages_list=[proto], message_object_trees=[tree]
            ),
            self.state,
        )

    def upload(self, session: str, objects: dict[str, bytes]) -> None:
        """Push parts."""
        for part, content in objects.items():
            request = message_pb2.PushObjectRequest(
                node=Node(node_id=self.node),
                run_id=self.run,
                session_id=session,
                object_id=part,
                object_content=content,
            )
            fleet_handlers.push_object(request, self.state)

    def reply(self, message: Message, missing: int = 0) -> Callable[[], None]:
        """Send a message as a SuperNode does; return what sends the parts left out."""
        message.metadata.__dict__["_message_id"] = message.object_id
        nested = {part: one.deflate() for part, one in get_all_nested_objects(message).items()}
        proto = message_to_proto(Message(RecordDict(), reply_to=message))
        proto.metadata.CopyFrom(message_to_proto(message).metadata)
        session = self.announce(proto, get_object_tree(message)).session_id
        names = list(nested)
        now, later = names[: len(names) - missing], names[len(names) - missing :]
        self.upload(session, {part: nested[part] for part in now})
        return lambda: self.upload(session, {part: nested[part] for part in later})

    def raw(self, metadata: Any, contents: Sequence[bytes], tree: ObjectTree | None = None) -> None:
        """Send objects of one's own making; the last one passes for the message."""
        ids = [get_object_id(content) for content in contents]
        proto = message_pb2.Message(metadata=metadata)
        proto.metadata.message_id = ids[-1]
        proto.content.SetInParent()
        leaves = [ObjectTree(object_id=part) for part in ids[:-1]]
        shown = tree or ObjectTree(object_id=ids[-1], children=leaves)
        session = self.announce(proto, shown).session_id
        self.upload(session, dict(zip(ids, contents, strict=True)))


@dataclass
class SuperLink:
    """A SuperLink with one running run, its grid, and its nodes."""

    state: InMemoryLinkState
    runtime: Runtime
    grid: HttpGrid
    nodes: list[Uplink]


def superlink(nodes: int) -> SuperLink:
    """Start one."""
    state = InMemoryLinkState(NoOpFederationManager(), InMemoryObjectStore())
    run = state.create_run(
        None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
    )
    task = state.run_ids[run].run.primary_task_id
    assert task is not None
    state.claim_task(task)
    state.activate_task(task)
    ids = [
        state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, f"key {n}".encode(), 30)
        for n in range(nodes)
    ]
    for node in ids:
        state.activate_node(node, 30)
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run, 1, task
    runtime = Runtime(state, state.get_tasks(task_ids=[task])[0])
    grid = HttpGrid(token="token")
    grid._client = runtime  # type: ignore[assignment]
    (info,) = state.get_run_info(run_ids=[run])
    grid.set_run(info)
    return SuperLink(state, runtime, grid, [Uplink(node, run, state) for node in ids])

"""Grids whose nodes answer as a test tells them to."""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.proto.message_pb2 import PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.serverapp import Grid

from fedsafe.flower.grids import LocalGrid
from fedsafe.flower.internals import (
    SUPERLINK_NODE_ID,
    ErrorCode,
    ObjectTree,
    TaskIdentity,
    get_all_nested_objects,
    get_object_tree,
    message_to_proto,
    remove_content_from_message,
)
from fedsafe.flower.internals import HttpGrid as Network
from fedsafe.flower.task_messages import set_message_id

Answer = Callable[[Message], Message | None]
"""The reply to a message; None: the node never answers."""


class Scripted(Grid):
    """Some nodes; each reply can be pulled after so many looks."""

    def __init__(self, nodes: Iterable[int], answer: Answer, looks: Callable[[int], int]) -> None:
        self.online = list(nodes)
        self.pushed: list[Message] = []
        self._answer = answer
        self._looks = looks
        self._waiting: dict[str, list[Any]] = {}

    def set_run(self, run: Any) -> None:
        """Do nothing."""

    @property
    def run(self) -> Any:
        """There is none."""
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Nobody asks for it."""
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        """Return the nodes that are online."""
        return list(self.online)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take messages; the reply to each is made at once and handed out later."""
        ids = []
        for message in messages:
            identity = f"message-{len(self.pushed)}"
            set_message_id(message, identity)
            self.pushed.append(message)
            ids.append(identity)
            reply = self._answer(message)
            if reply is not None:
                self._waiting[identity] = [self._looks(message.metadata.dst_node_id), reply]
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies whose time has come."""
        ready = []
        for identity in message_ids:
            if identity in self._waiting:
                self._waiting[identity][0] -= 1
                if self._waiting[identity][0] <= 0:
                    ready.append(self._waiting.pop(identity)[1])
        return ready

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Return every reply there is."""
        return self.pull_messages(self.push_messages(messages))


class ScriptedGrid(Scripted, LocalGrid):
    """A grid in this process."""


class Runtime:
    """What a network grid speaks to: replies go over it in parts, as over a SuperLink."""

    def __init__(self, replies: Callable[[str], Iterable[Message]]) -> None:
        self._replies = replies
        self._parts: dict[str, bytes] = {}

    def PullMessages(self, request: Any) -> PullAppMessagesResponse:  # noqa: N802 - Flower's name
        """Announce the replies that are there."""
        answer = PullAppMessagesResponse()
        for identity in request.message_ids:
            for reply in self._replies(identity):
                tree = ObjectTree()
                if reply.metadata.src_node_id != SUPERLINK_NODE_ID:
                    set_message_id(reply, reply.object_id)
                    tree = get_object_tree(reply)
                    nested = get_all_nested_objects(reply)
                    self._parts |= {part: one.deflate() for part, one in nested.items()}
                bare = remove_content_from_message(reply) if reply.has_content() else reply
                answer.messages_list.append(message_to_proto(bare))
                answer.message_object_trees.append(tree)
        return answer

    def PullObject(self, request: Any) -> PullObjectResponse:  # noqa: N802 - Flower's name
        """Hand out a part of a reply."""
        return PullObjectResponse(
            object_found=True,
            object_available=True,
            object_content=self._parts[request.object_id],
        )

    def ConfirmMessageReceived(self, request: Any) -> None:  # noqa: N802 - Flower's name
        """Forget nothing."""


class HttpGrid(Scripted, Network):
    """A grid to separate machines, as Flower's: nodes have keys, and go and come back.

    A node that is offline answers with the SuperLink's error; what was sent to an earlier
    session of a node is lost.
    """

    def __init__(self, answer: Answer, looks: Callable[[int], int] | None = None) -> None:
        Network.__init__(self, token="token")
        Scripted.__init__(self, (), answer, looks or at_once)
        self.keys: dict[int, bytes] = {}
        self.sessions: dict[int, int] = {}
        self.lapses: dict[int, int] = {}
        self.looked = 0
        self.script: dict[int, Callable[[], None]] = {}
        """What happens just before the n-th look, at the nodes or for a reply."""
        self.mute = False
        """Whether nothing is said of messages to nodes that are offline."""
        self._to: dict[str, tuple[int, int]] = {}
        self._settled: set[str] = set()
        self._runtime = Runtime(lambda identity: self.pull_messages([identity]))

    @property
    def run(self) -> Any:
        """The one run that every message of a test belongs to."""
        return SimpleNamespace(run_id=TaskIdentity.run_id)

    @property
    def _runtime_client(self) -> Any:
        return self._runtime

    def start(self, node: int, key: bytes | None = None) -> None:
        """Bring a node online, in a new session."""
        self.online.append(node)
        self.keys[node] = key or f"key of {node}".encode()
        self.sessions[node] = self.sessions.get(node, 0) + 1

    def stop(self, node: int) -> None:
        """Take a node offline."""
        self.online.remove(node)

    def restart(self, node: int) -> None:
        """Start a node again before anybody sees that it went."""
        self.sessions[node] += 1

    def lapse(self, node: int) -> None:
        """Let a node miss its heartbeats for a while; it works on."""
        self.lapses[node] = self.lapses.get(node, 0) + 1

    def get_nodes(self) -> Any:
        """Return the nodes that are online, as Flower describes them."""
        self._look()
        return [
            SimpleNamespace(
                node_id=node,
                public_key=self.keys[node],
                last_activated_at=f"{self.sessions[node]}.{self.lapses.get(node, 0)}",
            )
            for node in self.online
        ]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take messages, and remember which session of its node each is for."""
        listed = list(messages)
        ids = list(super().push_messages(listed))
        for identity, message in zip(ids, listed, strict=True):
            node = message.metadata.dst_node_id
            self._to[identity] = (node, self.sessions[node])
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return replies of nodes that are there, errors for those that are not."""
        self._look()
        listed = [identity for identity in message_ids if identity not in self._settled]
        lost = [i for i in listed if self._to[i][0] not in self.online]
        alive = [i for i in listed if self._to[i] in self.sessions.items() and i not in lost]
        errors = [] if self.mute else [self._unavailable(i) for i in lost]
        found = [*errors, *super().pull_messages(alive)]
        self._settled |= {reply.metadata.reply_to_message_id for reply in found}
        return found

    def _look(self) -> None:
        self.looked += 1
        self.script.pop(self.looked, lambda: None)()

    def _unavailable(self, identity: str) -> Message:
        message = next(m for m in self.pushed if m.metadata.message_id == identity)
        reply = Message(Error(ErrorCode.NODE_UNAVAILABLE, "gone"), reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = 1
        return reply


def hello(message: Message, text: str) -> Message:
    """Answer the roll call with these words."""
    return Message(RecordDict({"answer": ConfigRecord({"hello": text})}), reply_to=message)


def at_once(node: int) -> int:
    """Let every reply be there at the first look."""
    return 1


def empty_reply(message: Message) -> Message:
    """Answer with one record, as to a question without arrays, and nothing in it."""
    return Message(RecordDict({"answer": ConfigRecord({})}), reply_to=message)

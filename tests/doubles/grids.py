"""Grids whose nodes answer as a test tells them to."""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

Answer = Callable[[Message], Message | None]
"""The reply to a message; None: the node never answers."""


class ScriptedGrid(Grid):
    """A grid of some nodes; each reply can be pulled after so many looks."""

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
            message.metadata.__dict__["_message_id"] = identity
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


class HttpGrid(ScriptedGrid):
    """A grid to separate machines, as Flower's: nodes have keys, and go and come back.

    A node that is offline answers with the SuperLink's error; what was sent to an earlier
    session of a node is lost.
    """

    def __init__(self, answer: Answer, looks: Callable[[int], int] | None = None) -> None:
        super().__init__((), answer, looks or at_once)
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
    """Answer with nothing in it."""
    return Message(RecordDict(), reply_to=message)

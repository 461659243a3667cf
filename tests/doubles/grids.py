"""Grids whose nodes answer as a test tells them to."""

from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Message, RecordDict
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


def at_once(node: int) -> int:
    """Let every reply be there at the first look."""
    return 1


def empty_reply(message: Message) -> Message:
    """Answer with nothing in it."""
    return Message(RecordDict(), reply_to=message)

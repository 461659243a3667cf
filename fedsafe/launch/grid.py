"""An in-process Flower grid: messages go straight to a ClientApp, one after another.

Deterministic, starts in a blink, and keeps one base model in memory. What a client
sees is what it would see anywhere: a message and a context of its own.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from fedsafe.flower.grids import LocalGrid
from fedsafe.flower.internals import ErrorCode
from fedsafe.flower.task_messages import enter_task, set_message_id

if TYPE_CHECKING:
    from fedsafe.flower.internals import Run


class InlineGrid(LocalGrid):
    """A grid whose nodes live in this process.

    Messages are worked on when replies are asked for, one a call, so that whoever
    waits sees each reply as it comes.
    """

    one_by_one = True
    """Clients take turns, so each has the whole deadline to itself."""

    def __init__(self, app: ClientApp, clients: int, state: Path | None = None) -> None:
        enter_task(1, 1, 1)  # messages can only be made inside a Flower task
        self._app = app
        kept = {"fedsafe-state": "" if state is None else str(state)}
        self._contexts = {
            client + 2: Context(
                run_id=1,
                node_id=client + 2,
                node_config={"partition-id": client, "num-partitions": clients, **kept},
                state=RecordDict(),
                run_config={},
            )
            for client in range(clients)
        }
        self._pending: dict[str, Message] = {}
        self._sent = 0

    def set_run(self, run: "Run") -> None:
        """Do nothing: there is one run."""

    @property
    def run(self) -> Any:
        """There is no Flower run behind this grid."""
        raise NotImplementedError("An in-process grid has no Flower run.")

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message to a node."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Return every node."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take messages to work on later; return their ids."""
        ids = []
        for message in messages:
            self._sent += 1
            message_id = str(self._sent)
            set_message_id(message, message_id)
            self._pending[message_id] = message
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Work on the first of these messages that is pending, and return its reply."""
        for message_id in message_ids:
            message = self._pending.pop(message_id, None)
            if message is not None:
                return [self._work(message)]
        return []

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Work on all messages, and return the replies."""
        ids = list(self.push_messages(messages))
        return [reply for message_id in ids for reply in self.pull_messages([message_id])]

    def _work(self, message: Message) -> Message:
        """Let the client answer; whatever it raises becomes an error reply, as in Flower."""
        try:
            return self._app(message, self._contexts[message.metadata.dst_node_id])
        except Exception as error:  # noqa: BLE001 - a client's failure never ends the server
            reason = f"{type(error).__name__}: {error}"
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)

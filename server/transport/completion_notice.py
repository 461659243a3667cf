"""Completion notice: a message to the clients of a deployment that the rounds are over.

What is left, evaluation and defenses, is the server's alone and may take hours. It begins at
once: who is still at work hears it next, and is waited for a little only at the very end,
for with the run the message is gone.
"""

import time
from contextlib import suppress

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedsafe.errors import RunError
from fedsafe.messages import CONFIG
from server.transport.client_registry import ClientRegistry
from server.transport.dispatch import Dispatcher

GATHER_SECONDS = 10.0
"""Longest wait for clients that are just coming back, as after a restart of the server."""
LIFE_SECONDS = 6 * 3600.0
"""How long a client may take to hear it."""
END_SECONDS = 10.0
"""Longest wait at the end of the run; an idle SuperNode of Flower's asks every 3."""


class CompletionNotice:
    """Sends the completion notice after the last round; waits for it at the end of the run."""

    def __init__(self, grid: Grid) -> None:
        self._dispatcher = Dispatcher(grid)
        self._sent = False

    def send(self, registry: ClientRegistry) -> None:
        """Send the notice to every connected client of a deployment, once."""
        if registry.members is None or self._sent:
            return
        self._sent = True
        with suppress(RunError):  # a SuperLink that is away
            registry.refresh()
            if not registry.nodes:
                registry.wait(GATHER_SECONDS)
            requests = {client: _request(node) for client, node in registry.nodes.items()}
            self._dispatcher.send(requests, LIFE_SECONDS)

    def finish(self) -> None:
        """Wait briefly for clients that have not received the notice."""
        until = time.monotonic() + END_SECONDS
        with suppress(RunError):
            while self._dispatcher.under_way and time.monotonic() < until:
                for _ in self._dispatcher.take():
                    pass
                if self._dispatcher.under_way:
                    self._dispatcher.pause()


def _request(node: int) -> Message:
    content = RecordDict({CONFIG: ConfigRecord({})})
    return Message(content, dst_node_id=node, message_type=f"{MessageType.QUERY}.farewell")

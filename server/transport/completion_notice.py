"""The end of the clients' part on separate machines: they are told that the rounds are over.

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
from server.transport.client_registry import RollCall
from server.transport.dispatch import Post

GATHER_SECONDS = 10.0
"""Longest wait for clients that are just coming back, as after a restart of the server."""
LIFE_SECONDS = 6 * 3600.0
"""How long a client may take to hear it."""
END_SECONDS = 10.0
"""Longest wait at the end of the run; an idle SuperNode of Flower's asks every 3."""


class Farewell:
    """The telling, begun when the rounds are over and finished with the run."""

    def __init__(self, grid: Grid) -> None:
        self._post = Post(grid)
        self._sent = False

    def send(self, roll: RollCall) -> None:
        """Tell every client that is there, once; where they are in this process, nobody."""
        if roll.members is None or self._sent:
            return
        self._sent = True
        with suppress(RunError):  # a SuperLink that is away
            roll.refresh()
            if not roll.nodes:
                roll.wait(GATHER_SECONDS)
            letters = {client: _letter(node) for client, node in roll.nodes.items()}
            self._post.send(letters, LIFE_SECONDS)

    def finish(self) -> None:
        """Give those who have not heard yet a little time."""
        until = time.monotonic() + END_SECONDS
        with suppress(RunError):
            while self._post.under_way and time.monotonic() < until:
                for _ in self._post.take():
                    pass
                if self._post.under_way:
                    self._post.rest()


def _letter(node: int) -> Message:
    content = RecordDict({CONFIG: ConfigRecord({})})
    return Message(content, dst_node_id=node, message_type=f"{MessageType.QUERY}.farewell")

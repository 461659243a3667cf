"""The end of the clients' part on separate machines: they are told that the rounds are over.

What is left, evaluation and defenses, is the server's alone and may take hours. Nobody
waits for an answer: who is still at work hears it next.
"""

from contextlib import suppress

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedsafe.errors import RunError
from fedsafe.messages import CONFIG
from server.exchange import Post
from server.rollcall import RollCall

GATHER_SECONDS = 10.0
"""Longest wait for clients that are just coming back, as after a restart of the server."""
LIFE_SECONDS = 6 * 3600.0
"""How long a client may take to hear it."""


def farewell(grid: Grid, roll: RollCall) -> None:
    """Tell every client that is there; in one process and in a simulation there is no need."""
    if roll.members is None:
        return
    with suppress(RunError):  # a SuperLink that is away
        roll.refresh()
        if not roll.nodes:
            roll.wait(GATHER_SECONDS)
        letters = {client: _letter(node) for client, node in roll.nodes.items()}
        Post(grid).send(letters, LIFE_SECONDS)


def _letter(node: int) -> Message:
    content = RecordDict({CONFIG: ConfigRecord({})})
    return Message(content, dst_node_id=node, message_type=f"{MessageType.QUERY}.farewell")

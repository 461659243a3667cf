"""The end of the clients' part on separate machines: they are told that the rounds are over.

What is left, defenses and evaluations, is the server's alone and may take hours. Nobody
waits for a client that does not hear.
"""

import time
from contextlib import suppress

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedsafe.errors import RunError
from fedsafe.messages import CONFIG
from server.exchange import Post
from server.rollcall import RollCall

SECONDS = 5.0
"""Longest time for it."""


def farewell(grid: Grid, roll: RollCall) -> None:
    """Tell every client that is there; in one process and in a simulation there is no need."""
    if roll.members is None:
        return
    with suppress(RunError):  # a SuperLink that is away
        roll.refresh()
        post, until = Post(grid), time.monotonic() + SECONDS
        post.send({client: _letter(node) for client, node in roll.nodes.items()}, SECONDS)
        while post.under_way and time.monotonic() < until:
            list(post.take())
            post.rest()


def _letter(node: int) -> Message:
    content = RecordDict({CONFIG: ConfigRecord({})})
    return Message(content, dst_node_id=node, message_type=f"{MessageType.QUERY}.farewell")

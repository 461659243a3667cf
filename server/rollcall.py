"""Which node is which client: each node that comes online is asked once.

Knows nothing of what clients do.
"""

import time

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from pydantic import ValidationError

from fedsafe.messages import ANSWER, CONFIG, Hello
from fedsafe.runs.events import Events
from server.exchange import replies

ANSWER_SECONDS = 120.0
"""Longest wait for a node's answer; in a simulation the first one starts the workers."""
PAUSE = 0.2


class RollCall:
    """The nodes by client number."""

    def __init__(self, grid: Grid, clients: int, events: Events) -> None:
        self.nodes: dict[int, int] = {}
        self._grid = grid
        self._clients = clients
        self._events = events
        self._asked: set[int] = set()

    def wait(self, seconds: float) -> None:
        """Ask new nodes who they are, until every client is known or time is up."""
        deadline = time.monotonic() + seconds
        self.refresh()
        while len(self.nodes) < self._clients and time.monotonic() < deadline:
            time.sleep(PAUSE)
            self.refresh()

    def refresh(self) -> None:
        """Ask nodes that were not asked before; forget those that went."""
        online = set(self._grid.get_node_ids())
        self.nodes = {client: node for client, node in self.nodes.items() if node in online}
        self._asked &= online
        fresh = sorted(online - self._asked)
        if not fresh:
            return
        messages = [
            Message(
                RecordDict({CONFIG: ConfigRecord({})}),
                dst_node_id=node,
                message_type=f"{MessageType.QUERY}.hello",
            )
            for node in fresh
        ]
        self._asked.update(fresh)
        for position, reply in replies(self._grid, messages, ANSWER_SECONDS):
            self._enter(fresh[position], reply)

    def _enter(self, node: int, reply: Message) -> None:
        """Enter one node, unless its answer is no answer or its number is taken."""
        client = self._number(reply)
        if client is None:
            self._events("note", f"Node {node} did not say which client it is; it is left out.")
        elif not 0 <= client < self._clients:
            self._events(
                "note", f"Node {node} says it is client {client} of {self._clients}; left out."
            )
        elif client in self.nodes:
            self._events(
                "note", f"Node {node} says it is client {client}, as another node does; left out."
            )
        else:
            self.nodes[client] = node

    @staticmethod
    def _number(reply: Message) -> int | None:
        if reply.has_error():
            return None
        try:
            return Hello.model_validate_json(str(reply.content[ANSWER]["hello"])).client
        except (KeyError, TypeError, ValidationError):
            return None

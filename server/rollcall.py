"""Which node stands for which client: each node that comes online is asked once.

A node's number is its partition-id. Where there are fewer nodes than clients (a
simulation on a small machine), node p of P stands for the clients p, p + P, p + 2P
and so on, and the results are the same. Knows nothing of what clients do.
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
    """The nodes, by the clients they stand for."""

    def __init__(self, grid: Grid, clients: int, events: Events, *, simulated: bool = True) -> None:
        self._grid = grid
        self._simulated = simulated
        self._clients = clients
        self._events = events
        self._asked: set[int] = set()
        self._nodes: dict[int, int] = {}
        self._partitions: dict[int, int | None] = {}
        """How many nodes there are, as each node says."""

    @property
    def nodes(self) -> dict[int, int]:
        """Return the node of every client that has one.

        A node stands for several only in a simulation, and only where all nodes agree on
        how many they are: on a network none can take the clients of others.
        """
        said = {self._partitions[number] for number in self._nodes}
        agreed = said.pop() if self._simulated and len(said) == 1 else None
        spread = min(agreed or self._clients, self._clients)
        return {
            client: self._nodes[client % spread]
            for client in range(self._clients)
            if client % spread in self._nodes
        }

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
        self._nodes = {number: node for number, node in self._nodes.items() if node in online}
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
        said = _answer(reply)
        if said is None:
            self._events("note", f"Node {node} did not say which client it is; it is left out.")
        elif not 0 <= said.partition < self._clients:
            self._events(
                "note",
                f"Node {node} has partition-id {said.partition}; there are {self._clients} "
                "clients, numbered from 0. It is left out.",
            )
        elif said.partition in self._nodes:
            self._events(
                "note",
                f"Node {node} has partition-id {said.partition}, as another node does; left out.",
            )
        else:
            self._nodes[said.partition] = node
            self._partitions[said.partition] = said.partitions


def _answer(reply: Message) -> Hello | None:
    if reply.has_error():
        return None
    try:
        return Hello.model_validate_json(str(reply.content[ANSWER]["hello"]))
    except (KeyError, TypeError, ValidationError):
        return None

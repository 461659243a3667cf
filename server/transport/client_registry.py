"""Client registry: map online Flower nodes to client numbers.

A node's number is its key's place in the allow list, or its partition-id where there is
none. Where there are fewer nodes than clients (a simulation on a small machine), node p
of P stands for the clients p, p + P, p + 2P and so on, and the results are the same.
Knows nothing of what clients do.
"""

import time

from flwr.app import Message
from flwr.serverapp import Grid

from fedsafe.messages import Hello
from fedsafe.runs.events import Events
from server.transport.client_errors import transient
from server.transport.client_identity import ClientIdentities
from server.transport.dispatch import Dispatcher
from server.transport.hello import answer_in, question
from server.transport.nodes import Node, online
from server.transport.reconnections import WINDOW_SECONDS, Reconnections

ANSWER_SECONDS = 120.0
"""Longest wait for a node's answer; in a simulation the first one starts the workers."""
PAUSE_SECONDS = 1.0
"""Between two looks whether a node that has to wait may be asked."""
RETURN_SECONDS = 120.0
"""How long a client that went offline is expected back: a SuperNode that was killed is
let in again only when its last heartbeat is a minute old."""


class ClientRegistry:
    """Registry of online nodes by client number (compare Flower's ``ClientManager``).

    Args:
        grid: Where the nodes are.
        clients: How many clients there are.
        events: Receives events about nodes that are left out.
        members: Who is who on separate machines; None in one process and in a simulation,
            where nodes are believed.
    """

    def __init__(
        self, grid: Grid, clients: int, events: Events, members: ClientIdentities | None = None
    ) -> None:
        self._grid = grid
        self._clients = clients
        self.events = events
        self.members = members
        self._dispatcher = Dispatcher(grid)
        self._online: dict[int, Node] = {}
        self._asked: dict[int, Node] = {}
        """Nodes that were asked in their present session."""
        self._silent: dict[int, float] = {}
        """Nodes that have not answered, and when to ask them again (monotonic seconds)."""
        self._nodes: dict[int, int] = {}
        self._gone: dict[int, float] = {}
        """When clients went offline (monotonic seconds)."""
        self._keys: dict[int, bytes] = {}
        """The key that each client had last."""
        self._reconnections = Reconnections()
        self._partitions: dict[int, int | None] = {}
        """How many nodes there are, as each node says."""

    @property
    def nodes(self) -> dict[int, int]:
        """Return the node of every client that has one.

        A node stands for several only in a simulation, and only where all nodes agree on
        how many they are: on a network none can take the clients of others.
        """
        said = {self._partitions[number] for number in self._nodes}
        agreed = said.pop() if self.members is None and len(said) == 1 else None
        spread = min(agreed or self._clients, self._clients)
        return {
            client: self._nodes[client % spread]
            for client in range(self._clients)
            if client % spread in self._nodes
        }

    def session(self, client: int) -> Node | None:
        """Return the node of a client as it is in this session, or None if it is offline."""
        node = self.nodes.get(client)
        return None if node is None else self._online.get(node)

    def expected(self, client: int) -> bool:
        """Return whether an offline client may be back soon: it left lately, or is being asked.

        A node that is being asked who it is counts for the client whose key it has, and one
        with an unknown key for the clients of which none is known; neither counts again
        where it did not answer before, nor does a client that keeps coming and going.
        """
        if self.members is None or self.members.excluded(client):
            return False
        gone = self._gone.get(client)
        lately = gone is not None and time.monotonic() - gone < RETURN_SECONDS
        if lately and not self._reconnections.flapping(self._keys.get(client, b"")):
            return True
        return any(self._may_be(node, client) for node in self._dispatcher.under_way)

    def worked(self, client: int) -> None:
        """Record that a client finished work, which resets its reconnection back-off."""
        self._reconnections.worked(self._keys.get(client, b""))

    def _may_be(self, node: int, client: int) -> bool:
        """Return whether a node that is being asked may turn out to be a client."""
        asked = self._asked.get(node)
        if asked is None or self.members is None:
            return False
        if self._reconnections.silent(_key(asked)) or self._reconnections.flapping(_key(asked)):
            return False
        number = self.members.number_of(asked)
        if number is not None:
            return number == client
        few = self._reconnections.unanswered <= self._clients
        return few and not self.members.has_key(client)

    def wait(self, seconds: float, enough: int | None = None) -> None:
        """Query new nodes until every client is registered or time is up.

        Args:
            seconds: Longest wait.
            enough: Clients that will do; None: all of them.
        """
        deadline, told = time.monotonic() + seconds, -1
        wanted = self._clients if enough is None else enough
        self.refresh()
        while (there := len(self.nodes)) < wanted and time.monotonic() < deadline:
            if self.members is not None and there != told:
                told = there
                self.events("note", f"{there} of {self._clients} clients are there; waiting.")
            self._dispatcher.pause()
            self.refresh()

    def refresh(self) -> None:
        """Query new nodes, register those that answered, drop those that went offline.

        Waits for nobody: an answer that comes later is entered the next time. A node that
        did not answer is asked again after ``ANSWER_SECONDS``, then after twice as long, and
        so on; one whose key keeps coming and going after a while.
        """
        self._see()
        fresh = [node for _, node in sorted(self._online.items()) if self._new(node)]
        for node in fresh:
            if node.id not in self._asked:
                self._arrive(node)
            self._asked[node.id] = node
        welcome = [n for n in fresh if self.members is None or self.members.may_join(n)]
        due = [node for node in welcome if not self._reconnections.paused(_key(node))]
        for node in welcome:
            self._silent[node.id] = time.monotonic() + PAUSE_SECONDS
        for node in due:
            pause = ANSWER_SECONDS * 2.0 ** self._reconnections.asked(_key(node))
            self._silent[node.id] = time.monotonic() + pause
        self._dispatcher.send(
            {node.id: question(node.id, self.members) for node in due}, ANSWER_SECONDS
        )
        for number, reply in self._dispatcher.take():
            failed = reply.has_error() and transient(reply.error)
            if number in self._online and not failed:
                self._silent.pop(number, None)
                self._reconnections.answered(_key(self._online[number]))
                self._enter(self._online[number], reply)

    def _arrive(self, node: Node) -> None:
        """Enter a new session of a node; one whose key keeps coming has to wait."""
        pause = self._reconnections.came(_key(node)) if self.members is not None else 0.0
        if pause and self.members is not None:
            number = self.members.number_of(node)
            who = f"Node {node.id}" if number is None else f"Client {number}"
            times = self._reconnections.arrivals(_key(node))
            self.events(
                "note",
                f"{who} has come online {times} times in {WINDOW_SECONDS / 60:g} minutes without "
                f"doing any work. It takes part again in {pause:g} s; no round waits for it.",
            )

    def _see(self) -> None:
        """See who is online, and forget who went or was started again."""
        now, self._online = time.monotonic(), self._admitted(online(self._grid))
        for number, node in list(self._nodes.items()):
            if self._asked[node] != self._online.get(node):
                del self._nodes[number]
                self._gone[number] = now
        self._asked = {n: one for n, one in self._asked.items() if self._online.get(n) == one}
        self._silent = {n: when for n, when in self._silent.items() if n in self._asked}

    def _admitted(self, nodes: dict[int, Node]) -> dict[int, Node]:
        """Return nodes without those whose keys were revoked since: they count as offline."""
        if self.members is None:
            return nodes
        self.members.refresh()
        return {n: node for n, node in nodes.items() if not self.members.dismissed(node)}

    def _new(self, node: Node) -> bool:
        """Say whether a node is to be asked: never before, or long ago in vain."""
        again = self._silent.get(node.id)
        in_vain = again is not None and time.monotonic() >= again
        return node.id not in self._asked or in_vain

    def _enter(self, node: Node, reply: Message) -> None:
        """Enter one node, unless its answer is no answer or its number is taken."""
        said = answer_in(reply)
        if said is None:
            self.events("note", f"Node {node.id} did not say which client it is; it is left out.")
            return
        number = self._place(node, said) if self.members is None else self.members.admit(node, said)
        if number is None or self._nodes.get(number) == node.id:
            return
        if number in self._nodes:
            self.events(
                "note",
                f"Node {node.id} has partition-id {number}, as another node does; left out.",
            )
            return
        self._nodes[number] = node.id
        self._keys[number] = _key(node)
        self._partitions[number] = said.partitions
        if self._gone.pop(number, None) is not None and self.members is not None:
            self.events("note", f"Client {number} is back.")

    def _place(self, node: Node, said: Hello) -> int | None:
        """Return the number that a node of a simulation claims, if there is such a client."""
        if said.partition is None:
            self.events("note", f"Node {node.id} did not say which client it is; it is left out.")
            return None
        if said.partition >= self._clients:
            self.events(
                "note",
                f"Node {node.id} has partition-id {said.partition}; there are {self._clients} "
                "clients, numbered from 0. It is left out.",
            )
            return None
        return said.partition


def _key(node: Node) -> bytes:
    """Return what a node is known by over its sessions."""
    return node.key or str(node.id).encode()

"""Client identity in a deployment: client numbers bound to SuperNode public keys.

Remembered in the run directory, so that a number, the truth about who attacks and what
data there was outlast a restart. No strategy ever sees any of it.
"""

from collections.abc import Sequence

from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Hello, Needs
from fedsafe.runs.events import Events
from fedsafe.runs.records import Member
from fedsafe.runs.store import Store
from server.transport.allowlist import Allowed, AllowList
from server.transport.key_numbers import KeyNumbers, fingerprint
from server.transport.nodes import Node


class ClientIdentities:
    """Client identities of a deployment, assigned as nodes join.

    Args:
        experiment: What is run.
        store: The run directory.
        events: Told of what the operator should know.
        allow: Keys that may join; a list on disk is followed as it changes. Empty: all may.
    """

    def __init__(
        self,
        experiment: Experiment,
        store: Store,
        events: Events,
        allow: Sequence[Allowed] | AllowList = (),
    ) -> None:
        self._clients = experiment.federation.clients
        self._red_team = experiment.red_team
        self._store, self._events = store, events
        attack = experiment.attack
        self._needs = Needs(
            own_data=experiment.data.source.name == "client",
            generator=attack is not None and attack.generator is not None,
            contamination=attack is not None and attack.contamination > 0,
            start_adapter=experiment.adapter.merged_start is not None,
        )
        self._list = allow
        self._open = not isinstance(allow, AllowList) and not allow
        self._numbers = KeyNumbers(store)
        self._read: Sequence[Allowed] | None = None
        self._allowed: dict[bytes, Allowed] = {}
        self._known = {member.client: member for member in store.members()}
        self._told: set[str] = set()
        self.refresh()

    @property
    def needs(self) -> Needs:
        """What a client has to bring along."""
        return self._needs

    @property
    def attackers(self) -> frozenset[int]:
        """Return the clients that are attackers, as their own operators declared."""
        return frozenset(n for n, one in self._known.items() if one.behaviour is not None)

    def refresh(self) -> None:
        """Follow the allow list: number new keys, and note whose key was disabled or enabled."""
        read = self._list.read() if isinstance(self._list, AllowList) else self._list
        if isinstance(self._list, AllowList) and self._list.problem:
            self._note(f"{self._list.problem} The keys stay as they were.")
        if read is self._read:
            return
        first, self._read = self._read is None, read
        before = {one.number: not one.revoked for one in self._allowed.values()}
        self._allowed = {one.key: one for one in self._numbers.assign(read)}
        if self._open:
            return
        self._numbers.save()
        now = {one.number: not one.revoked for one in self._allowed.values()}
        for number in sorted(set(before) | set(now)):
            if not first and before.get(number, False) != now.get(number, False):
                change = "takes part no more: its key was revoked or removed"
                if now.get(number, False):
                    change = "may take part from now on: its key was added or restored"
                self._events("note", f"Client {number} {change}.")

    def dismissed(self, node: Node) -> bool:
        """Return whether a node has a key that was on the allow list and is revoked or gone."""
        if self._open or self._numbers.number(node.key) is None:
            return False
        listed = self._allowed.get(node.key)
        return listed is None or listed.revoked

    def excluded(self, client: int) -> bool:
        """Return whether no key of a client's may take part now."""
        return not self._open and not any(
            one.number == client and not one.revoked for one in self._allowed.values()
        )

    def number_of(self, node: Node) -> int | None:
        """Return the client whose key a node has; None: only the node itself can tell."""
        listed = self._allowed.get(node.key)
        if listed is not None:
            return listed.number
        key = fingerprint(node.key)
        return next((number for number, one in self._known.items() if one.key == key), None)

    def has_key(self, number: int) -> bool:
        """Return whether a client's key is known, so that no node with another one can be it."""
        listed = any(one.number == number for one in self._allowed.values())
        return listed or number in self._known

    def may_join(self, node: Node) -> bool:
        """Say whether a node's key is on the allow list, if there is one; note it if not."""
        if self._open:
            return True
        listed = self._allowed.get(node.key)
        if listed is None:
            self._note(
                f"Node {node.id} has the key {fingerprint(node.key)[:16]}, which is not on the "
                "allow list; it is left out."
            )
        elif listed.number >= self._clients:
            self._note(
                f"'{listed.name}' is number {listed.number} of the allow list; there are "
                f"{self._clients} clients, numbered from 0. It is left out."
            )
        elif listed.revoked:
            self._note(f"'{listed.name}', client {listed.number}, is revoked; it is left out.")
        return listed is not None and listed.number < self._clients and not listed.revoked

    def admit(self, node: Node, said: Hello) -> int | None:
        """Return the client that a node is, and remember it; None: it is left out, with a note."""
        listed = self._allowed.get(node.key)
        number = said.partition if listed is None else listed.number
        why = self._unwelcome(node, said, number)
        if why:
            self._note(f"{why} It is left out.")
        if why or number is None:
            return None
        if said.partition not in (None, number):
            self._note(
                f"Client {number} says it is number {said.partition}; its key says {number}."
            )
        self._remember(
            Member(
                client=number,
                key=fingerprint(node.key),
                name=listed.name if listed else "",
                behaviour=None if said.behaviour is None else _line(said.behaviour),
                data=_line(said.data),
            )
        )
        return number

    def _unwelcome(self, node: Node, said: Hello, number: int | None) -> str:
        """Return why a node cannot be a client of this run; "" if it can."""
        if number is None:
            return (
                f"Node {node.id} did not say which client it is: start it with "
                "--node-config 'partition-id=N', or lead the run with an allow list."
            )
        if not 0 <= number < self._clients:
            return (
                f"Node {node.id} has partition-id {number}; there are {self._clients} clients, "
                "numbered from 0."
            )
        if said.lacks:
            return f"Client {number} cannot take part: {_line(said.lacks, 300)}"
        known = self._known.get(number)
        if self._open and known is not None and known.key != fingerprint(node.key):
            return (
                f"Node {node.id} has partition-id {number}, which another key has in this run. "
                "Start SuperNodes with keys that they keep, or remove clients.jsonl from the run "
                "directory to give the numbers anew."
            )
        if said.behaviour is not None and not self._red_team:
            return (
                f"Client {number} was started as an attacker ('{_line(said.behaviour)}') and will "
                "refuse: this run declares no red team."
            )
        return ""

    def _remember(self, member: Member) -> None:
        before = self._known.get(member.client)
        if before == member:
            return
        if before is not None and before.key != member.key:
            self._note(f"Client {member.client} has another key than before, as the list says.")
        if before is not None and before.behaviour != member.behaviour:
            self._note(
                f"Client {member.client} was {_conduct(before)} and is {_conduct(member)} now."
            )
        if before is not None and before.data != member.data:
            self._note(
                f"Client {member.client} has other data than before: digest {member.data[:16]}, "
                f"which was {before.data[:16]}."
            )
        self._known[member.client] = member
        self._store.write_members(self._known.values())
        provenance = self._store.provenance()
        if provenance is not None and member.data:
            data = {**provenance.data, f"client {member.client}": member.data}
            ordered = dict(sorted(data.items(), key=lambda item: (len(item[0]), item[0])))
            self._store.write_provenance(provenance.model_copy(update={"data": ordered}))

    def _note(self, text: str) -> None:
        """Tell the operator, each thing once."""
        if text not in self._told:
            self._told.add(text)
            self._events("note", text)


def _conduct(member: Member) -> str:
    return "honest" if member.behaviour is None else f"an attacker ('{member.behaviour}')"


def _line(text: str, longest: int = 100) -> str:
    """Return a client's own words as one short printable line."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:longest]

"""Update attacks that know colluders or the rule, applied at the server for the attackers.

In one process and in a simulation the attackers share a machine with the server: it stands in
for them, in declared red-team runs only, on the updates that their clients trained. Attacks that
need only their own updates run at the client, and those of attackers on machines of their own
where ``attack.collusion`` says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from fedsafe.contracts import Aggregate, Knowledge, State, Updates
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.lazy import torch
from fedsafe.runs.colluder_files import ColluderFiles
from fedsafe.runs.records import Client
from fedsafe.seeds import stream
from fedsafe.update_attacks import forge, needs, runs_at_client, trains_apart, trial_of
from server.aggregation.aggregator import RuleAggregator
from server.aggregation.interface import Aggregator
from server.aggregation.update_store import UpdateStore
from server.transport.train_messages import Tensors

if TYPE_CHECKING:
    from torch import Tensor

MEMORY = "attack/"
"""Prefix of what an update attack remembers, in the state of a checkpoint."""


def split(state: Tensors) -> "tuple[dict[str, Tensor], dict[str, Tensor]]":
    """Return what the strategy and what the update attack remembers, of a checkpoint's state."""
    rule = {name: value for name, value in state.items() if not name.startswith(MEMORY)}
    kept = {
        name.removeprefix(MEMORY): value for name, value in state.items() if name.startswith(MEMORY)
    }
    return rule, kept


def joined(state: State, memory: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return both as a checkpoint's state."""
    return {**state, **{f"{MEMORY}{name}": value for name, value in memory.items()}}


def pipeline_of(aggregator: Aggregator, state: Tensors) -> Callable[[Updates], Aggregate] | None:
    """Return filters and rule with what they remember; None for a Flower strategy."""
    if not isinstance(aggregator, RuleAggregator):
        return None
    return partial(aggregator.pipeline, state=state)


@dataclass
class ServerStandIn:
    """Forges the malicious clients' updates of one round, in place of the attackers.

    Attributes:
        experiment: Its attack; without one that runs at the server nothing is forged.
        pipeline: The server's filters and rule; None: a Flower strategy, which no attack can
            try out.
        files: Where the attackers of this machine left their benign updates; None: they are on
            other machines.
        memory: What the attack remembers; changed in place.
        report: Called with a sentence for the operator.
    """

    experiment: Experiment
    pipeline: Callable[[Updates], Aggregate] | None
    files: ColluderFiles | None = None
    memory: "dict[str, Tensor]" = field(default_factory=dict)
    report: Callable[[str], None] = lambda sentence: None

    def forge(
        self, updates: Updates, update_store: UpdateStore, clients: dict[int, Client]
    ) -> None:
        """Replace the malicious clients' rows in the update store, and their norms in the records.

        Raises:
            RunError: As of `forged_rows`.
        """
        malicious = frozenset(one for one, client in clients.items() if client.malicious)
        for row, update in self.forged_rows(updates, malicious).items():
            client = int(updates.clients[row])
            update_store.replace(row, update)
            norm = float(update.double().norm())
            clients[client] = clients[client].model_copy(update={"norm": norm})
        if self.files is not None:
            self.files.clear()

    def forged_rows(self, updates: Updates, malicious: frozenset[int]) -> "dict[int, Tensor]":
        """Return what the update attack makes of the malicious clients' updates, by row.

        Args:
            updates: The accepted updates of a round, (n, d), with the adapter that was sent.
            malicious: Numbers of the malicious clients.

        Raises:
            RunError: The attack's result is no finite update, or it cannot know what it needs.
        """
        attack = self.experiment.attack if self.experiment.red_team else None
        rows = [row for row, one in enumerate(updates.clients) if int(one) in malicious]
        if attack is None or attack.update is None or runs_at_client(attack) or not rows:
            return {}
        known = needs(attack.update)
        benign = self._benign(updates, rows) if "benign" in known else {}
        shared = self._knowledge(updates, rows, known)
        forged: dict[int, Tensor] = {}
        before, reported = dict(self.memory), set[str]()
        for position, row in enumerate(rows):
            own = benign if "colluders" in known else {row: benign[row]} if benign else {}
            knowledge = replace(
                shared,
                client=int(updates.clients[row]),
                position=position,
                rng=self._rng(updates, row),
                benign=torch.cat(list(own.values())) if own else None,
                memory=dict(before),
                report=reported.add,
            )
            forged[row] = forge(attack.update, updates.matrix[row], knowledge)
            self.memory.update(knowledge.memory)
        for sentence in sorted(reported):
            self.report(sentence)
        return forged

    def _rng(self, updates: Updates, row: int) -> Random:
        client = int(updates.clients[row])
        return stream(self.experiment.seed, "update-attack", client, "round", updates.round)

    def _knowledge(self, updates: Updates, rows: list[int], known: frozenset[str]) -> Knowledge:
        """Return what the attackers of a round know together, as far as the attack declares it."""
        assert updates.model is not None
        strategy = self.experiment.federation.strategy
        honest = [row for row in range(len(updates.matrix)) if row not in rows]
        knows_rule, knows_honest = "rule" in known, "honest" in known
        tried = trial_of(self.pipeline, updates) if self.pipeline and knows_rule else None
        return Knowledge(
            round=updates.round,
            client=-1,
            rng=self._rng(updates, rows[0]),
            model=updates.model,
            blocks=updates.blocks,
            cohort=len(updates.matrix),
            attackers=len(rows),
            colluders=updates.matrix[rows].clone() if "colluders" in known else None,
            honest=updates.matrix[honest].clone() if knows_honest else None,
            honest_clients=tuple(updates.clients[row] for row in honest) if knows_honest else (),
            rule=strategy.name if knows_rule else None,
            settings=strategy.settings if knows_rule else None,
            filters=tuple(choice.name for choice in strategy.filters) if knows_rule else (),
            aggregate=tried,
        )

    def _benign(self, updates: Updates, rows: list[int]) -> "dict[int, Tensor]":
        """Return the malicious clients' benign updates by row, each (k, d).

        Raises:
            RunError: One left none, or they are on machines that the server cannot look into.
        """
        attack = self.experiment.attack
        assert attack is not None
        if not trains_apart(attack.behaviour, attack.estimates):
            return {row: updates.matrix[row : row + 1].clone() for row in rows}
        found = {}
        for row in rows:
            left = None if self.files is None else self.files.read(int(updates.clients[row]))
            if left is None or left["benign"].shape[1:] != updates.matrix.shape[1:]:
                raise RunError(
                    "The update attack knows the attackers' benign updates, and malicious client "
                    f"{updates.clients[row]} left none in round {updates.round}, or one of another "
                    "adapter rank. On separate machines set attack.collusion: clients, or let the "
                    "attackers train honestly (attack.behaviour: supervised)."
                )
            found[row] = left["benign"]
        return found

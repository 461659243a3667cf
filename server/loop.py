"""The rounds of one federation: sample, send, gather, screen, combine, record, go on.

Below the quorum the federation fails with a sentence; a killed one goes on after its
last complete round and ends with the same bytes.
"""

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from flwr.serverapp import Grid

from fedsafe.errors import ConfigError, RunError
from fedsafe.evaluation.evaluate import probe
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Job
from fedsafe.models import adapters
from fedsafe.models.vectorize import moved
from fedsafe.runs.events import Events
from fedsafe.runs.files import private_directory
from fedsafe.runs.records import Client, Round
from fedsafe.runs.store import CLIENTS, FederationStore
from fedsafe.training.schedule import learning_rate
from fedsafe.training.session import Session
from server import checkpoint, client_status
from server.aggregation.aggregator import combiner
from server.aggregation.interface import Combined, Combiner
from server.aggregation.root_update import root_update
from server.aggregation.update_attacks import forge
from server.aggregation.update_store import Spool
from server.cohort_replies import collect_replies
from server.randomness import Draws
from server.sampling import cohort
from server.transport.client_registry import RollCall
from server.transport.reply_journal import ReplyJournal
from server.transport.train_messages import with_job

Name = Literal["main", "control"]
NOWHERE = 0
"""Node of a client that is offline when its letter is written."""


@dataclass
class Federation:
    """One federation, from its first round or its last checkpoint to its adapter."""

    name: Name
    experiment: Experiment
    grid: Grid
    roll: RollCall
    session: Session
    store: FederationStore
    events: Events
    identity: str = ""
    """Names the run, the same after a restart."""
    journal: ReplyJournal = field(default=None)  # type: ignore[assignment]
    """Whose replies killed the server; by default this federation's alone."""
    draws: Draws | None = None
    """Where random draws come from; None: from the experiment's seed."""
    _records: list[Round] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read the federation's own journal, where none is given."""
        self.journal = self.journal or ReplyJournal(self.store.directory, self.events)

    def run(self) -> adapters.Tensors:
        """Run the rounds that are left, and return the final adapter.

        Raises:
            RunError: A round had too few usable replies, or they could not be combined.
        """
        progress = self._begin()
        federation = self.experiment.federation
        combining = combiner(federation.strategy, self.grid, federation.wire)
        rounds = federation.rounds
        for number in range(progress.round + 1, rounds + 1):
            self.events("round-start", federation=self.name, round=number, rounds=rounds)
            progress = self._round(number, progress, combining)
            record = self._records[-1].model_dump(mode="json")
            self.events("round-end", federation=self.name, rounds=rounds, record=record)
        client_status.judge_attack(self.experiment.attack is not None, self._records, self.events)
        final = dict(progress.adapter)
        adapters.save(self.store.adapter, final, self.session.loaded.model)
        return final

    def _begin(self) -> checkpoint.Progress:
        """Return the last complete round, or a fresh adapter."""
        private_directory(self.store.directory)
        checkpoint.tidy(self.store)
        found = checkpoint.latest(self.store)
        if found is None:
            self.store.write_rounds([])
            return checkpoint.Progress(0, self.session.start(self.experiment.seed), {})
        progress, self._records = found
        self.store.write_rounds(self._records)
        self.events("note", f"Going on after round {progress.round} of the {self.name} federation.")
        return progress

    def _round(
        self, number: int, progress: checkpoint.Progress, combining: Combiner
    ) -> checkpoint.Progress:
        begun = time.perf_counter()
        asked = cohort(self.experiment, number, self.draws.cohorts if self.draws else None)
        self.journal.begin_round(self.name, number)
        columns = sum(tensor.numel() for tensor in progress.adapter.values())
        with Spool(self.store.directory / ".spool.f32", len(asked), columns) as spool:
            clients = self._gather(number, asked, progress, combining, spool)
            client_status.note_attack(number, clients, self.events)
            combined = self._combine(number, progress, combining, spool, clients)
        adapter = dict(combined.adapter or moved(progress.adapter, combined.update))
        if (bad := adapters.not_finite(adapter)) is not None:
            raise RunError(
                f"Round {number} made an adapter with values that are not finite: {bad}."
            )
        record = self._record(number, asked, clients, combined, adapter)
        record = record.model_copy(
            update={
                "probe": self._probe(number, adapter),
                "bytes_sent": sum(client.bytes_sent for client in clients.values()),
                "bytes_received": sum(client.bytes for client in clients.values()),
                "seconds": time.perf_counter() - begun,
            }
        )
        self._records.append(record)
        done = checkpoint.Progress(number, adapter, combined.state)
        keep = self.experiment.federation.keep_checkpoints
        checkpoint.save(self.store, done, self._records, keep)
        return done

    def _gather(
        self,
        number: int,
        asked: list[int],
        progress: checkpoint.Progress,
        combining: Combiner,
        spool: Spool,
    ) -> dict[int, Client]:
        """Ask the cohort; return what became of each client."""
        nodes = {client: self.roll.nodes.get(client, NOWHERE) for client in asked}
        messages = combining.messages(number, progress.adapter, nodes, progress.state)
        letters = {
            client: with_job(message, self._job(number, client))
            for client, message in zip(asked, messages, strict=True)
        }
        return collect_replies(self, letters, spool)

    def _combine(
        self,
        number: int,
        progress: checkpoint.Progress,
        combining: Combiner,
        spool: Spool,
        clients: dict[int, Client],
    ) -> Combined:
        needed = self.experiment.minimum_replies
        if len(spool.accepted) < needed:
            raise RunError(
                f"Round {number} has {len(spool.accepted)} usable replies; {needed} are needed. "
                f"{client_status.reasons(clients)} Raise federation.deadline, lower "
                "federation.minimum_replies, or see to the clients; `fedsafe resume` goes on from "
                "here."
            )
        root = root_update(self.experiment, self.session, number, progress.adapter)
        weighting = self.experiment.federation.weighting
        updates = spool.updates(number, progress.adapter, weighting, root)
        forge(self.experiment, updates, spool, clients, combining, progress.state)
        updates = replace(updates, seed=self.draws.rules if self.draws else None)
        ordered = [spool.accepted[position][1] for position in sorted(spool.accepted)]
        try:
            with spool.reading():
                combined = combining.combine(updates, progress.adapter, ordered, progress.state)
        except (ConfigError, ValueError) as error:
            raise RunError(f"Round {number} cannot be combined: {error}") from None
        weights = None if combined.influence is None else combined.influence.tolist()
        for row, position in enumerate(sorted(spool.accepted)):
            client = spool.accepted[position][0]
            counted = None if weights is None else weights[row]
            clients[client] = clients[client].model_copy(update={"influence": counted})
        return combined

    def _record(
        self,
        number: int,
        asked: list[int],
        clients: dict[int, Client],
        combined: Combined,
        adapter: adapters.Tensors,
    ) -> Round:
        return Round(
            round=number,
            cohort=asked,
            clients=[clients[client] for client in asked],
            learning_rate=self._learning_rate(number),
            adapter=adapters.digest(adapter),
            metrics={k: v for k, v in combined.metrics.items() if math.isfinite(v)},
            update_norm=float(combined.update.double().norm()),
        )

    def _probe(self, number: int, adapter: adapters.Tensors) -> Any:
        every = self.experiment.evaluation.probe_every
        if not every or number % every:
            return None
        return probe(self.session, adapter, self.experiment)

    def _job(self, number: int, client: int) -> Job:
        home = self.store.directory if self.name == "main" else self.store.directory.parent
        malicious = client_status.attackers(self.experiment, self.name, self.roll.members)
        shared = self.roll.members is None  # a simulated client may write beside the records
        return Job.of(
            self.experiment,
            client=client,
            round=number,
            attacker=client in malicious,
            federation=self.name,
            learning_rate=self._learning_rate(number),
            fingerprint=self.session.fingerprint,
            run=self.identity,
            state=str(home / CLIENTS) if shared else "",
        )

    def _learning_rate(self, number: int) -> float:
        training = self.experiment.training
        first, last = training.learning_rate, training.final_learning_rate
        return learning_rate(first, last, number, self.experiment.federation.rounds)

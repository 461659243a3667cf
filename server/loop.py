"""Round loop of a federation: sample, send, collect, validate, aggregate, record.

Below the quorum the federation fails with a sentence; a killed one goes on after its
last complete round and ends with the same bytes.
"""

import math
import time
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from flwr.serverapp import Grid

from fedsafe.errors import ConfigError, RunError
from fedsafe.evaluation.overlap import signatures
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Job
from fedsafe.models import adapters
from fedsafe.runs.colluder_files import COLLUDERS, ColluderFiles
from fedsafe.runs.events import Events
from fedsafe.runs.files import private_directory
from fedsafe.runs.records import Client, Round
from fedsafe.runs.store import CLIENTS, FederationStore
from fedsafe.training.schedule import learning_rate
from fedsafe.training.session import Session
from fedsafe.weights.vectorize import moved
from server import checkpoint, client_status
from server.aggregation import update_attacks as attacks
from server.aggregation.aggregator import aggregator_of
from server.aggregation.interface import AggregationResult, Aggregator
from server.aggregation.probe_scores import with_scores
from server.aggregation.root_update import root_update
from server.aggregation.update_store import UpdateStore
from server.cohort_replies import collect_replies
from server.influence_records import record_influence
from server.randomness import Draws
from server.round_probes import round_probe, stops_early
from server.sampling import cohort
from server.transport.client_registry import ClientRegistry
from server.transport.reply_journal import ReplyJournal
from server.transport.train_messages import with_job

Name = Literal["main", "control"]
NOWHERE = 0
"""Node id placeholder for a client that is offline when its request is built."""


@dataclass
class Federation:
    """One federation, from its first round or its last checkpoint to its adapter."""

    name: Name
    experiment: Experiment
    grid: Grid
    registry: ClientRegistry
    session: Session
    store: FederationStore
    events: Events
    identity: str = ""
    """Names the run, the same after a restart."""
    journal: ReplyJournal = field(default=None)  # type: ignore[assignment]
    """Whose replies killed the server; by default this federation's alone."""
    start: adapters.Tensors | None = None  # of the first round; None: a fresh adapter
    aligned: adapters.Tensors | None = None  # before any federation; None: a fresh adapter
    rounds_before: int = 0  # of the federation that it goes on from: clients count on
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
        aggregator = aggregator_of(federation.strategy, self.grid, federation.wire)
        rounds = federation.rounds
        stopped = stops_early(self, self._records)
        while progress.round < rounds and not stopped:
            number = progress.round + 1
            self.events("round-start", federation=self.name, round=number, rounds=rounds)
            progress = self._round(number, progress, aggregator)
            record = self._records[-1].model_dump(mode="json")
            self.events("round-end", federation=self.name, rounds=rounds, record=record)
            stopped = stops_early(self, self._records)
        if not stopped:  # after an alarm, nobody takes the model for a well defended one
            client_status.check_attack(self.experiment, self._records, self.events)
        final = dict(progress.adapter)
        adapters.save(self.store.adapter, final, self.session.loaded.model)
        return final

    def _begin(self) -> checkpoint.Progress:
        """Return the last complete round, or a fresh adapter."""
        private_directory(self.store.directory)
        checkpoint.tidy(self.store)
        if (found := checkpoint.latest(self.store)) is None:
            self.store.write_rounds([])
            start = self.start or self.session.start(self.experiment.seed)
            return checkpoint.Progress(0, start, {})
        progress, self._records = found
        self.store.write_rounds(self._records)
        self.events("note", f"Going on after round {progress.round} of the {self.name} federation.")
        return progress

    def _round(
        self, number: int, progress: checkpoint.Progress, aggregator: Aggregator
    ) -> checkpoint.Progress:
        begun = time.perf_counter()
        drawn = self.draws.cohorts if self.draws else None
        asked = cohort(self.experiment, number + self.rounds_before, drawn)
        self.journal.begin_round(self.name, number)
        columns = sum(tensor.numel() for tensor in progress.adapter.values())
        with UpdateStore(self.store.directory / ".spool.f32", len(asked), columns) as update_store:
            clients = self._gather(number, asked, progress, aggregator, update_store)
            client_status.note_attack_errors(number, clients, self.events)
            combined = self._combine(number, progress, aggregator, update_store, clients)
        adapter = dict(combined.adapter or moved(progress.adapter, combined.update))
        if (bad := adapters.not_finite(adapter)) is not None:
            raise RunError(f"Round {number} made an adapter of values that are not finite: {bad}.")
        record = self._record(number, asked, clients, combined, adapter)
        record = record.model_copy(
            update={
                "probe": round_probe(self, number, adapter),
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
        aggregator: Aggregator,
        update_store: UpdateStore,
    ) -> dict[int, Client]:
        """Ask the cohort; return what became of each client."""
        nodes = {client: self.registry.nodes.get(client, NOWHERE) for client in asked}
        state, _ = attacks.split(progress.state)
        messages = aggregator.messages(number, progress.adapter, nodes, state)
        requests = {
            client: with_job(message, self._job(number, client, asked))
            for client, message in zip(asked, messages, strict=True)
        }
        return collect_replies(self, requests, update_store)

    def _combine(
        self,
        number: int,
        progress: checkpoint.Progress,
        aggregator: Aggregator,
        update_store: UpdateStore,
        clients: dict[int, Client],
    ) -> AggregationResult:
        needed, there = self.experiment.minimum_replies, len(update_store.accepted)
        client_status.check_quorum(number, needed, there, clients)
        root = root_update(self.experiment, self.session, number, progress.adapter)
        weighting = self.experiment.federation.weighting
        updates = update_store.updates(number, progress.adapter, weighting, root)
        state, memory = attacks.split(progress.state)
        left = self._home / CLIENTS / COLLUDERS
        files = ColluderFiles(left, self.identity, self.name, number + self.rounds_before)
        attacks.ServerStandIn(
            self.experiment,
            attacks.pipeline_of(aggregator, state),
            files if self._on_one_machine else None,
            memory,
            partial(self.events, "note"),
        ).forge(updates, update_store, clients)
        updates = replace(updates, seed=self.draws.rules if self.draws else None)
        updates = with_scores(self, updates, progress.adapter)
        ordered = [update_store.accepted[position][1] for position in sorted(update_store.accepted)]
        try:
            with update_store.reading():
                combined = aggregator.combine(updates, progress.adapter, ordered, state)
        except (ConfigError, ValueError) as error:
            raise RunError(f"Round {number} cannot be combined: {error}") from None
        record_influence(clients, update_store.accepted, combined, updates)
        client_status.note_left_out(clients, self._records, self.events)
        return replace(combined, state=attacks.joined(combined.state, memory))

    def _record(
        self,
        number: int,
        asked: list[int],
        clients: dict[int, Client],
        combined: AggregationResult,
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

    @property
    def _home(self) -> Path:
        """The run directory."""
        return self.store.directory if self.name == "main" else self.store.directory.parent

    @property
    def _on_one_machine(self) -> bool:
        """Whether clients may write beside the records: in one process or a simulation."""
        return self.registry.members is None

    def _job(self, number: int, client: int, asked: list[int]) -> Job:
        malicious = client_status.attackers(self.experiment, self.name, self.registry.members)
        return Job.of(
            self.experiment,
            client=client,
            round=number + self.rounds_before,
            attacker=client in malicious,
            federation=self.name,
            learning_rate=self._learning_rate(number),
            fingerprint=self.session.fingerprint,
            run=self.identity,
            state=str(self._home / CLIENTS) if self._on_one_machine else "",
            avoid=self._avoid if client in malicious or self.experiment.contaminated else "",
        ).among(asked, malicious)

    @cached_property
    def _avoid(self) -> str:
        """Signatures of the evaluation's prompts, which malicious samples must not repeat."""
        return signatures(self.experiment).dumps()

    def _learning_rate(self, number: int) -> float:
        training = self.experiment.training
        first, last = training.learning_rate, training.final_learning_rate
        return learning_rate(first, last, number, self.experiment.federation.rounds)

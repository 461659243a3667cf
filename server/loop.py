"""The rounds of one federation: sample, send, gather, screen, combine, record, go on.

Below the quorum the federation fails with a sentence; a killed one goes on after its
last complete round and ends with the same bytes.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from flwr.app import ConfigRecord
from flwr.serverapp import Grid

from fedsafe.attacks.roster import malicious_clients
from fedsafe.errors import ConfigError, RunError
from fedsafe.evaluation.evaluate import probe
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import CONFIG, Job
from fedsafe.models import adapters
from fedsafe.runs.events import Events
from fedsafe.runs.records import Client, Round
from fedsafe.runs.store import FederationStore
from fedsafe.training.schedule import learning_rate
from fedsafe.training.session import Session
from server import checkpoint
from server.combine import Combined, Combiner, combiner
from server.exchange import replies
from server.flat import moved
from server.outcomes import Status, client_record, reasons, require_attack
from server.replies import DroppedError, screen
from server.rollcall import RollCall
from server.root import root_update
from server.sampling import cohort
from server.spool import Spool

Name = Literal["main", "control"]


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
    _records: list[Round] = field(default_factory=list)

    def run(self) -> adapters.Tensors:
        """Run the rounds that are left, and return the final adapter.

        Raises:
            RunError: A round had too few usable replies, or they could not be combined.
        """
        progress = self._begin()
        combining = combiner(self.experiment.federation.strategy, self.grid)
        rounds = self.experiment.federation.rounds
        for number in range(progress.round + 1, rounds + 1):
            self.events("round-start", federation=self.name, round=number, rounds=rounds)
            progress = self._round(number, progress, combining)
            self.events(
                "round-end",
                federation=self.name,
                rounds=rounds,
                record=self._records[-1].model_dump(mode="json"),
            )
        final = dict(progress.adapter)
        adapters.save(self.store.adapter, final, self.session.loaded.model)
        return final

    def _begin(self) -> checkpoint.Progress:
        """Return the last complete round, or a fresh adapter."""
        self.store.directory.mkdir(parents=True, exist_ok=True)
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
        asked = cohort(self.experiment, number)
        columns = sum(tensor.numel() for tensor in progress.adapter.values())
        with Spool(self.store.directory / ".spool.f32", len(asked), columns) as spool:
            clients, sent = self._gather(number, asked, progress, combining, spool)
            require_attack(number, clients)
            combined = self._combine(number, progress, combining, spool, clients)
        adapter = dict(combined.adapter or moved(progress.adapter, combined.update))
        record = self._record(number, asked, clients, combined, adapter)
        record = record.model_copy(
            update={
                "probe": self._probe(number, adapter),
                "bytes_sent": sent * columns * 4,
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
    ) -> tuple[dict[int, Client], int]:
        """Ask the cohort; return what became of each client, and how many were sent to."""
        self.roll.refresh()
        malicious = malicious_clients(self.experiment)
        online = [client for client in asked if client in self.roll.nodes]
        clients = {one: client_record(one, malicious, "missing", "offline") for one in asked}
        nodes = {client: self.roll.nodes[client] for client in online}
        adapter, state = progress.adapter, progress.state
        messages = combining.messages(number, adapter, nodes, state) if nodes else []
        for client, message in zip(online, messages, strict=True):
            config = message.content[CONFIG]
            assert isinstance(config, ConfigRecord)
            config["job"] = self._job(number, client)
        seconds = self.experiment.federation.deadline
        for one in online:
            clients[one] = client_record(one, malicious, "missing", f"no reply in {seconds:g} s")
        arrays = {name: tensor.numpy() for name, tensor in adapter.items()}
        limit = self.experiment.federation.max_update_norm
        for done, (position, message) in enumerate(replies(self.grid, messages, seconds), 1):
            client = online[position]
            try:
                reply = screen(message, arrays, limit)
            except DroppedError as reason:
                status: Status = "failed" if message.has_error() else "dropped"
                clients[client] = client_record(client, malicious, status, str(reason))
            else:
                spool.put(asked.index(client), client, reply)
                accepted = client_record(client, malicious, "accepted")
                clients[client] = accepted.model_copy(update=reply.record())
            told = clients[client]
            self.events(
                "client",
                client=client,
                status=told.status,
                loss=told.loss,
                done=done,
                total=len(messages),
            )
        return clients, len(messages)

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
                f"{reasons(clients)} Raise federation.deadline, lower federation.minimum_replies, "
                "or see to the clients; `fedsafe resume` goes on from here."
            )
        root = root_update(self.experiment, self.session, number, progress.adapter)
        weighting = self.experiment.federation.weighting
        updates = spool.updates(number, progress.adapter, weighting, root)
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

    def _job(self, number: int, client: int) -> str:
        job = Job(
            client=client,
            federation=self.name,
            round=number,
            learning_rate=self._learning_rate(number),
            fingerprint=self.session.fingerprint,
            experiment=self.experiment,
        )
        return job.model_dump_json()

    def _learning_rate(self, number: int) -> float:
        training = self.experiment.training
        first, last = training.learning_rate, training.final_learning_rate
        return learning_rate(first, last, number, self.experiment.federation.rounds)

"""Run an experiment with the clients that a Flower grid reaches.

Builds the federations that the laboratory's pipeline asks for: waits for the clients, checks
that there are enough, and tells them when the rounds are over.
"""

from collections.abc import Sequence
from pathlib import Path

from flwr.serverapp import Grid

from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.pipeline.federation import GoesOn, Name
from fedsafe.pipeline.run_state import Run
from fedsafe.pipeline.stage_store import StageStore
from fedsafe.pipeline.stages import run_pipeline
from fedsafe.runs.events import Events
from fedsafe.runs.records import Summary
from fedsafe.runs.store import FederationStore, Store
from server.client_status import check_attackers_present
from server.loop import Federation
from server.randomness import Draws
from server.transport.allowlist import Allowed, AllowList
from server.transport.client_identity import ClientIdentities
from server.transport.client_registry import ClientRegistry
from server.transport.completion_notice import CompletionNotice
from server.transport.nodes import deployed
from server.transport.reply_journal import ReplyJournal

ROLL_SECONDS = 600.0
"""Longest wait for clients before the first round."""


def run_experiment(
    grid: Grid,
    experiment: Experiment,
    store: Store,
    events: Events,
    runtime: str,
    *,
    allow: Sequence[Allowed] | AllowList = (),
    randomness: Path | None = None,
    shared: StageStore | None = None,
    until: str = "",
) -> Summary:
    """Run all stages of an experiment, or those that are left.

    Args:
        grid: Where the clients are.
        experiment: What to run.
        store: The run directory.
        events: Receives progress events.
        runtime: inline, simulation or deployment.
        allow: The keys that may join, by client number; none: every node may.
        randomness: File that the server's draws are made from on separate machines; None: the
            operating system's randomness, kept in the run directory.
        shared: Finished stages of other runs.
        until: Stop after this stage, ``base`` or ``aligned``; empty: run all.

    Raises:
        FedSafeError: A stage failed; the summary says which and why.
    """

    def connect(run: Run) -> GridClients:
        return GridClients(grid, run, allow, randomness)

    return run_pipeline(connect, experiment, store, events, runtime, shared, until)


class GridClients:
    """Clients of one run, reached over a Flower grid (the pipeline's `Clients`)."""

    def __init__(
        self,
        grid: Grid,
        run: Run,
        allow: Sequence[Allowed] | AllowList = (),
        randomness: Path | None = None,
    ) -> None:
        self._grid, self._run = grid, run
        experiment, apart = run.experiment, deployed(grid)
        members = ClientIdentities(experiment, run.store, run.events, allow) if apart else None
        self._registry = ClientRegistry(grid, experiment.federation.clients, run.events, members)
        self._completion_notice = CompletionNotice(grid)
        self._journal = ReplyJournal(run.store.directory, run.events)
        self._draws = Draws.of(experiment.seed, run.store if apart else None, randomness)

    def federation(
        self,
        name: Name,
        experiment: Experiment,
        store: FederationStore,
        after: GoesOn | None = None,
    ) -> Federation:
        """Return a federation, once enough clients are there.

        Raises:
            RunError: There are too few, or the attack that the experiment declares is not there.
        """
        if not self._registry.nodes:
            _call(self._registry, self._run.experiment)
        return Federation(
            name=name,
            experiment=experiment,
            grid=self._grid,
            registry=self._registry,
            session=self._run.session,
            store=store,
            events=self._run.events,
            journal=self._journal,
            identity=after.identity if after else self._run.identity,
            start=after.start if after else self._run.start,
            aligned=self._run.start,
            rounds_before=after.rounds if after else 0,
            draws=self._draws,
        )

    def end_rounds(self) -> None:
        """Send the completion notice to the connected clients, once."""
        self._completion_notice.send(self._registry)

    def close(self) -> None:
        """Wait briefly for clients that have not received the completion notice."""
        self._completion_notice.finish()


def _call(registry: ClientRegistry, experiment: Experiment) -> None:
    """Wait for the clients, and see that there are enough of them.

    On separate machines those that are needed may take as long as a round's replies, the
    others as long as stragglers.

    Raises:
        RunError: There are too few, or the attack that the experiment declares is not there.
    """
    federation, needed = experiment.federation, experiment.minimum_replies
    if registry.members is not None:
        registry.wait(federation.deadline, needed)
    registry.wait(min(ROLL_SECONDS, federation.grace or ROLL_SECONDS, federation.deadline))
    if len(registry.nodes) < needed:
        raise RunError(
            f"{len(registry.nodes)} of {federation.clients} clients answered the roll call; "
            f"{needed} are needed. Start the others (in a simulation: "
            f"num-supernodes={federation.clients}), each with its own key or partition-id."
        )
    attack = experiment.attack
    if registry.members is None and attack is not None and attack.collusion == "clients":
        raise RunError(
            "attack.collusion: clients is for attackers on machines of their own, and this run's "
            "clients are all on one. Set it to server."
        )
    if registry.members is not None:
        check_attackers_present(
            experiment, registry.members.attackers & registry.nodes.keys(), registry.events
        )

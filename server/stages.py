"""The story of a run: base, clean control, attack, defenses, each evaluated.

Each stage is kept as it ends; a run that is started again goes on with the first
stage that is missing. Knows nothing of terminals or reports.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

from flwr.serverapp import Grid

from fedsafe.contracts import Exchange, Verdict
from fedsafe.data.dedup import normalise
from fedsafe.defenses.runner import directory_of, repair
from fedsafe.errors import FedSafeError, RunError
from fedsafe.evaluation.evaluate import judge, prompts_of
from fedsafe.evaluation.measures import detection
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.models import adapters
from fedsafe.runs.events import Events
from fedsafe.runs.files import room
from fedsafe.runs.records import Stage, Summary
from fedsafe.runs.store import CLIENTS, FederationStore, Store
from server.client_status import see_attack
from server.loop import Federation
from server.run import DEPLOYMENT, Run, open_run
from server.transport.allowlist import Allowed, AllowList
from server.transport.client_identity import Members
from server.transport.client_registry import RollCall
from server.transport.completion_notice import Farewell
from server.transport.nodes import deployed

ROLL_SECONDS = 600.0
"""Longest wait for clients before the first round."""


def lead(
    grid: Grid,
    experiment: Experiment,
    store: Store,
    events: Events,
    runtime: str,
    allow: Sequence[Allowed] | AllowList = (),
) -> Summary:
    """Run an experiment's whole story, or what is left of it.

    Args:
        grid: Where the clients are.
        experiment: What to run.
        store: The run directory.
        events: Who is told of its progress.
        runtime: inline, simulation or deployment.
        allow: The keys that may join, by client number; none: every node may.

    Raises:
        FedSafeError: A stage failed; the summary says which and why.
    """
    with store.lock():
        _same_kind(store, runtime)
        run = open_run(experiment, store, events, runtime)
        events("run-start", directory=str(store.directory), name=experiment.name)
        try:
            with room(store.directory):
                _story(run, grid, allow)
        except KeyboardInterrupt:
            _give_up(run, "interrupted", "stopped by the user")
            raise
        except FedSafeError as error:
            _give_up(run, "failed", str(error))
            raise
        except Exception as error:
            _give_up(run, "failed", f"{type(error).__name__}: {error}")
            raise
        rmtree(store.directory / CLIENTS, ignore_errors=True)
        summary = run.summarise("completed")
        events("run-end", status=summary.status, seconds=summary.seconds)
        return summary


def _same_kind(store: Store, runtime: str) -> None:
    """See that a run on separate machines is not gone on with in one process, or the reverse.

    Raises:
        RunError: It would be another experiment: other data, other attackers.
    """
    known = store.provenance()
    if known is not None and (known.runtime == DEPLOYMENT) != (runtime == DEPLOYMENT):
        raise RunError(
            f"The run in {store.directory} began as '{known.runtime}', where the clients have "
            f"other data than as '{runtime}'. Go on with the command that began it, or choose "
            "another directory with -o."
        )


def _give_up(run: Run, status: str, reason: str) -> None:
    """Write the summary, unless that is what failed: the reason must not be lost over it."""
    with suppress(RunError, OSError):
        run.summarise(status, reason)


def _story(run: Run, grid: Grid, allow: Sequence[Allowed] | AllowList) -> None:
    experiment = run.experiment
    if run.known("base") is None:
        run.events("stage-start", stage="base")
        start = run.session.start(experiment.seed)
        path = run.store.directory / "base-adapter"
        adapters.save(path, start, run.session.loaded.model)
        run.finish("base", start, path, 0.0)
    members = Members(experiment, run.store, run.events, allow) if deployed(grid) else None
    roll = RollCall(grid, experiment.federation.clients, run.events, members)
    farewell = Farewell(grid)
    for name in run.planned[1:]:
        if name.startswith("defended:") or run.known(name) is not None:
            continue
        if not roll.nodes:
            _call(roll, experiment)
        _federate(run, grid, roll, name, farewell)
    farewell.send(roll)  # where the rounds were over before this process began
    for choice in experiment.defenses:
        if run.known(f"defended:{choice.name}") is None:
            defend(run, choice)
    farewell.finish()


def _call(roll: RollCall, experiment: Experiment) -> None:
    """Wait for the clients, and see that there are enough of them.

    On separate machines those that are needed may take as long as a round's replies, the
    others as long as stragglers.

    Raises:
        RunError: There are too few, or the attack that the experiment declares is not there.
    """
    federation, needed = experiment.federation, experiment.minimum_replies
    if roll.members is not None:
        roll.wait(federation.deadline, needed)
    roll.wait(min(ROLL_SECONDS, federation.grace or federation.deadline))
    if len(roll.nodes) < needed:
        raise RunError(
            f"{len(roll.nodes)} of {federation.clients} clients answered the roll call; "
            f"{needed} are needed. Start the others (in a simulation: "
            f"num-supernodes={federation.clients}), each with its own key or partition-id."
        )
    if roll.members is not None:
        see_attack(experiment, roll.members.attackers & roll.nodes.keys(), roll.events)


def _federate(run: Run, grid: Grid, roll: RollCall, name: str, farewell: Farewell) -> None:
    """Run one federation, the control or the main one, and evaluate its model."""
    run.events("stage-start", stage=name)
    control = name == "clean"
    store: FederationStore = run.store.control if control else run.store
    experiment = run.experiment.honest() if control else run.experiment
    adapter = Federation(
        name="control" if control else "main",
        experiment=experiment,
        grid=grid,
        roll=roll,
        session=run.session,
        store=store,
        events=run.events,
        identity=run.identity,
    ).run()
    if not control:
        farewell.send(roll)
    rounds = store.rounds()
    attacked = experiment.attack is not None or any(c.malicious for r in rounds for c in r.clients)
    found = detection(rounds) if attacked else None
    run.finish(name, adapter, store.adapter, sum(r.seconds for r in rounds), found)


def defend(run: Run, choice: PluginChoice) -> Stage:
    """Repair the main federation's model with one defense, and evaluate the result.

    Raises:
        RunError: There is no trained model to repair yet.
    """
    if run.known(run.main) is None:
        raise RunError(
            f"{run.store.directory} has no trained model to defend yet. Finish it with "
            f"`fedsafe resume {run.store.directory}`."
        )
    adapter = adapters.load(run.store.adapter)
    home = run.store.directory / "defenses"
    directory = directory_of(run.session, adapter, choice, run.experiment.seed, home)
    name = _stage_name(run, choice, str((directory / "adapter").relative_to(run.store.directory)))
    run.events("stage-start", stage=name)
    experiment = run.experiment

    def verdicts(exchanges: Sequence[Exchange]) -> list[Verdict]:
        return judge(experiment.evaluation.judge, exchanges)

    repaired = repair(
        run.session,
        adapter,
        choice,
        seed=experiment.seed,
        home=home,
        avoid=frozenset(normalise(prompt.instruction) for prompt in prompts_of(experiment)),
        judge=verdicts,
        events=run.events,
    )
    stage = run.finish(name, repaired.adapter, repaired.directory / "adapter", repaired.seconds)
    if any(other.judge != stage.judge for other in run.stages):
        reevaluate(run)  # a table of two judges compares nothing
    return stage


def _stage_name(run: Run, choice: PluginChoice, path: str) -> str:
    """Name a defense's stage; one with other settings than the first carries its key."""
    name = f"defended:{choice.name}"
    taken = run.known(name)
    return name if taken is None or taken.path == path else f"defended:{Path(path).parent.name}"


def reevaluate(run: Run) -> Summary:
    """Evaluate every stage again, with the experiment's suites and judge as they are now."""
    for stage in list(run.stages):
        run.events("stage-start", stage=stage.name)
        path = run.store.directory / stage.path
        run.finish(stage.name, adapters.load(path), path, stage.seconds, stage.detection)
    return run.settle()

"""The story of a run: base, clean control, attack, defenses, each evaluated.

Each stage is kept as it ends; a run that is started again goes on with the first
stage that is missing. Knows nothing of terminals or reports.
"""

from collections.abc import Sequence
from pathlib import Path

from flwr.serverapp import Grid

from fedsafe.contracts import Exchange, Verdict
from fedsafe.data.overlap import normalise
from fedsafe.defenses.repair import directory_of, repair
from fedsafe.errors import FedSafeError, RunError
from fedsafe.evaluation.evaluate import judge, prompts_of
from fedsafe.evaluation.measures import detection
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.models import adapters
from fedsafe.runs.events import Events
from fedsafe.runs.records import Stage, Summary
from fedsafe.runs.store import FederationStore, Store
from server.loop import Federation
from server.rollcall import RollCall
from server.run import Run, open_run

ROLL_SECONDS = 600.0
"""Longest wait for clients before the first round."""


def lead(grid: Grid, experiment: Experiment, store: Store, events: Events, runtime: str) -> Summary:
    """Run an experiment's whole story, or what is left of it.

    Raises:
        FedSafeError: A stage failed; the summary says which and why.
    """
    with store.lock():
        run = open_run(experiment, store, events, runtime)
        events("run-start", directory=str(store.directory), name=experiment.name)
        try:
            _story(run, grid)
        except KeyboardInterrupt:
            run.summarise("interrupted", "stopped by the user")
            raise
        except FedSafeError as error:
            run.summarise("failed", str(error))
            raise
        except Exception as error:
            run.summarise("failed", f"{type(error).__name__}: {error}")
            raise
        summary = run.summarise("completed")
        events("run-end", status=summary.status, seconds=summary.seconds)
        return summary


def _story(run: Run, grid: Grid) -> None:
    experiment = run.experiment
    if run.known("base") is None:
        run.events("stage-start", stage="base")
        start = run.session.start(experiment.seed)
        path = run.store.directory / "base-adapter"
        adapters.save(path, start, run.session.loaded.model)
        run.finish("base", start, path, 0.0)
    simulated = type(grid).__name__ != "HttpGrid"  # Flower's own grid to separate machines
    roll = RollCall(grid, experiment.federation.clients, run.events, simulated=simulated)
    for name in run.planned[1:]:
        if name.startswith("defended:") or run.known(name) is not None:
            continue
        if not roll.nodes:
            _call(roll, experiment)
        _federate(run, grid, roll, name)
    for choice in experiment.defenses:
        if run.known(f"defended:{choice.name}") is None:
            defend(run, choice)


def _call(roll: RollCall, experiment: Experiment) -> None:
    """Wait for the clients, and see that there are enough of them."""
    roll.wait(min(ROLL_SECONDS, experiment.federation.deadline))
    if len(roll.nodes) < experiment.minimum_replies:
        raise RunError(
            f"{len(roll.nodes)} of {experiment.federation.clients} clients answered the roll call; "
            f"{experiment.minimum_replies} are needed. Start the others (in a simulation: "
            f"num-supernodes={experiment.federation.clients}), each with its own partition-id."
        )


def _federate(run: Run, grid: Grid, roll: RollCall, name: str) -> None:
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
    ).run()
    found = None if experiment.attack is None else detection(store.rounds())
    run.finish(name, adapter, store.adapter, sum(r.seconds for r in store.rounds()), found)


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

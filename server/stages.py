"""The story of a run: base, clean control, attack, defenses, each evaluated.

Each stage is kept as it ends; a run that is started again goes on with the first
stage that is missing. Knows nothing of terminals or reports.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flwr.serverapp import Grid

from fedsafe.contracts import Exchange, Verdict
from fedsafe.data.overlap import normalise
from fedsafe.data.shares import data_hashes
from fedsafe.defenses.repair import repair
from fedsafe.errors import FedSafeError, RunError
from fedsafe.evaluation.evaluate import evaluate, judge, prompts_of
from fedsafe.evaluation.measures import detection
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.runs.events import Events
from fedsafe.runs.provenance import observe
from fedsafe.runs.records import Detection, Stage, Summary
from fedsafe.runs.store import FederationStore, Store, experiment_hash
from fedsafe.training.session import Session, resident
from server.loop import Federation
from server.rollcall import RollCall

ROLL_SECONDS = 600.0
"""Longest wait for clients before the first round."""


@dataclass
class Run:
    """One run directory being filled."""

    experiment: Experiment
    store: Store
    events: Events
    session: Session
    stages: list[Stage] = field(default_factory=list)
    begun: float = field(default_factory=time.perf_counter)
    before: float = 0.0
    """Seconds that earlier attempts took."""

    def known(self, name: str) -> Stage | None:
        """Return a stage that is done already."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def finish(
        self,
        name: str,
        adapter: adapters.Tensors,
        path: Path,
        seconds: float,
        found: Detection | None = None,
    ) -> Stage:
        """Evaluate a stage's adapter and keep the stage."""
        begun = time.perf_counter()

        def told(done: int, total: int) -> None:
            self.events("evaluate", stage=name, done=done, total=total)

        home = self.store.directory / "evaluations"
        scores, directory = evaluate(self.session, adapter, self.experiment, home, name, told)
        stage = Stage(
            name=name,
            adapter=adapters.digest(adapter),
            path=str(path.relative_to(self.store.directory)),
            scores=scores,
            seconds=seconds,
            evaluation=str(directory.relative_to(self.store.directory)),
            evaluation_seconds=time.perf_counter() - begun,
            detection=found,
        )
        return self._keep(stage)

    def _keep(self, stage: Stage) -> Stage:
        """Put a stage into the summary, in place of one of the same name."""
        names = [known.name for known in self.stages]
        if stage.name in names:
            self.stages[names.index(stage.name)] = stage
        else:
            self.stages.append(stage)
        self.summarise("running")
        self.events(
            "stage-end",
            stage=stage.name,
            scores=stage.scores.model_dump(mode="json"),
            seconds=stage.seconds,
        )
        return stage

    def summarise(self, status: str, reason: str = "") -> Summary:
        """Write summary.json as things stand."""
        summary = Summary.model_validate(
            {
                "name": self.experiment.name,
                "experiment": experiment_hash(self.experiment),
                "status": status,
                "reason": reason,
                "stages": self.stages,
                "seconds": self.before + time.perf_counter() - self.begun,
            }
        )
        self.store.write_summary(summary)
        return summary


def open_run(experiment: Experiment, store: Store, events: Events, runtime: str) -> Run:
    """Claim a run directory and load the model.

    Raises:
        RunError: The directory holds something else.
        ModelError: The model cannot be loaded.
    """
    store.open(experiment)
    session, seconds = resident(experiment)
    events("note", f"Base model ready in {seconds:.1f} s.", fingerprint=session.fingerprint)
    earlier = store.summary()
    run = Run(experiment, store, events, session)
    if earlier is not None:
        run.stages, run.before = list(earlier.stages), earlier.seconds
    if not (store.directory / "provenance.json").is_file():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        store.write_provenance(
            observe(
                model=session.fingerprint,
                data=data_hashes(experiment),
                runtime=runtime,
                gpus=gpus,
            )
        )
    return run


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
    main = "trained" if experiment.attack is None else "attacked"
    wanted = [main] if experiment.attack is None or not experiment.control else ["clean", main]
    roll = RollCall(grid, experiment.federation.clients, run.events)
    for name in wanted:
        if run.known(name) is None:
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
    name = f"defended:{choice.name}"
    if not run.store.adapter.is_dir():
        raise RunError(
            f"{run.store.directory} has no trained adapter to defend yet. Finish it with "
            f"`fedsafe resume {run.store.directory}`."
        )
    run.events("stage-start", stage=name)
    experiment = run.experiment

    def verdicts(exchanges: Sequence[Exchange]) -> list[Verdict]:
        return judge(experiment.evaluation.judge, exchanges)

    repaired = repair(
        run.session,
        adapters.load(run.store.adapter),
        choice,
        seed=experiment.seed,
        home=run.store.directory / "defenses",
        avoid=frozenset(normalise(prompt.instruction) for prompt in prompts_of(experiment)),
        judge=verdicts,
        events=run.events,
    )
    return run.finish(name, repaired.adapter, repaired.directory / "adapter", repaired.seconds)


def reevaluate(run: Run) -> Summary:
    """Evaluate every stage again, with the experiment's suites and judge as they are now."""
    for stage in list(run.stages):
        run.events("stage-start", stage=stage.name)
        path = run.store.directory / stage.path
        run.finish(stage.name, adapters.load(path), path, stage.seconds, stage.detection)
    return run.summarise("completed")

"""Defend a run's model, or an adapter from anywhere, and evaluate the result."""

from collections.abc import Sequence
from pathlib import Path

from fedsafe.errors import FedSafeError, RunError
from fedsafe.evaluation.overlap import OverlapCounter, signatures
from fedsafe.experiment.pipelines import Step, pipelines_of, steps_of
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.models import adapters
from fedsafe.pipeline.defense_work import Work, failed_stage, prepare
from fedsafe.pipeline.opening import open_run
from fedsafe.pipeline.run_defense import run_defense
from fedsafe.pipeline.run_state import ADAPTER, Run
from fedsafe.runs.events import Events
from fedsafe.runs.records import Stage, Summary
from fedsafe.runs.store import Store
from fedsafe.shields import load_shield, save_shield


def defend_all(run: Run) -> None:
    """Run the pipelines of defenses that are left; one that fails does not stop the others.

    Raises:
        FedSafeError: The model that they begin with cannot be used.
    """
    for step in steps_of(pipelines_of(run.experiment.defenses), run.main):
        if run.known(step.name) is None:
            stage = attempt(run, step)
            if stage.status == "failed":
                run.events("note", f"Defense '{step.choice.name}' failed: {stage.reason}")


def defend(run: Run, choices: Sequence[PluginChoice]) -> Stage:
    """Apply a pipeline of defenses to the run's model, evaluate each step, keep the stages.

    Args:
        run: A run whose federation is done, or that holds a given adapter.
        choices: The defenses, one after the other.

    Raises:
        RunError: There is no trained model to defend yet, or a defense failed.
    """
    after = run.main
    for choice in choices:
        stage = attempt(run, Step("", after, choice))
        if stage.status == "failed":
            run.settle()
            raise RunError(f"Defense '{choice.name}' failed: {stage.reason}")
        after = stage.name
    return stage


def attempt(run: Run, step: Step) -> Stage:
    """Apply one defense; return its stage, which is failed where the defense failed.

    Args:
        run: The run.
        step: The defense and what it repairs; with no name it gets one by what it depends on.

    Raises:
        RunError: There is no trained model to defend yet, or it cannot be used.
    """
    defended = run.known(step.after)
    if defended is None and step.after != run.main:
        return run.keep(failed_stage(step, "", f"the step before it, {step.after}, failed."))
    if defended is None:
        raise RunError(
            f"{run.store.directory} has no trained model to defend yet. Finish it with "
            f"`fedsafe resume {run.store.directory}`."
        )
    work = prepare(run, step, defended)
    run.events("stage-start", stage=work.step.name)
    try:
        return _defend(run, work)
    except Exception as error:  # noqa: BLE001 - a mistake in somebody's plug-in, too
        reason = str(error) if isinstance(error, FedSafeError) else _sentence(error)
        return run.keep(failed_stage(work.step, work.key, reason))


def _defend(run: Run, work: Work) -> Stage:
    experiment, key, directory = run.experiment, work.key, work.directory
    evaluation = experiment.evaluation
    keep, held_out = evaluation.overlap == "keep", evaluation.held_out
    if run.shared is not None and not directory.is_dir():
        run.shared.fetch(key, directory)
    made = run_defense(
        run.session,
        work.adapter,
        work.step.choice,
        seed=experiment.seed,
        start=run.start,
        key=key,
        directory=directory,
        avoid=work.avoid,
        judge=evaluation.judge,
        overlap=OverlapCounter(signatures(experiment), keep, held_out=held_out),
        events=run.events,
        shield=work.shield,
    )
    if run.shared is not None:
        run.shared.put(key, directory)
    stage = run.finish(
        work.step.name,
        made.adapter,
        directory / "adapter",
        made.seconds,
        key=key,
        after=work.step.after,
        overlap=made.overlap,
    )
    if any(other.judge != stage.judge for other in run.stages if other.status == "done"):
        reevaluate(run)  # a table of two judges compares nothing
    return stage


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def defend_adapter(
    experiment: Experiment,
    adapter: Path,
    pipelines: Sequence[Sequence[PluginChoice]],
    store: Store,
    events: Events,
) -> Summary:
    """Evaluate an adapter from anywhere, defend it, and evaluate the result.

    Several defenses of one adapter may go into one directory, one after the other.

    Args:
        experiment: Its model, template, suites, judge and seed.
        adapter: Directory of a PEFT adapter.
        pipelines: The defenses, each pipeline from the given adapter.
        store: The directory of the results, laid out as a run directory.
        events: Receives progress events.

    Raises:
        FedSafeError: Model, adapter or defense do not work out, or the directory holds another
            adapter's defenses.
    """
    bare = experiment.model_copy(update={"attack": None, "defenses": ()})
    tensors = adapters.load(adapter)
    with store.lock():
        run = open_run(bare, store, events, ADAPTER)
        given = run.known(run.main)
        if given is None:
            run.events("stage-start", stage=run.main)
            run.session.put(tensors)  # is it one of this model's?
            adapters.save(store.adapter, tensors, run.session.loaded.model)
            save_shield(store.adapter, load_shield(adapter))
            run.finish(run.main, tensors, store.adapter, 0.0)
        elif given.adapter != adapters.digest(tensors):
            raise RunError(
                f"{store.directory} holds defenses of another adapter than {adapter}. Choose "
                "another directory with -o."
            )
        for choices in pipelines:
            defend(run, choices)
        return run.settle()


def reevaluate(run: Run) -> Summary:
    """Evaluate every stage again, with the experiment's suites and judge as they are now."""
    for stage in [stage for stage in run.stages if stage.status == "done"]:
        run.events("stage-start", stage=stage.name)
        run.finish(
            stage.name,
            run.adapter(stage),
            run.path(stage),
            stage.seconds,
            key=stage.key,
            detection=stage.detection,
            after=stage.after,
            overlap=stage.overlap,
            early_stop=stage.early_stop,
            by_round=stage.by_round,
        )
    return run.settle()

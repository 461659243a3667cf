"""Defend a run's model, or an adapter from anywhere, and evaluate the result."""

from pathlib import Path

from fedsafe.contracts import defenses
from fedsafe.data.dedup import normalise
from fedsafe.errors import FedSafeError, RunError
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.evaluation.overlap import OverlapCounter, signatures
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.models import adapters
from fedsafe.pipeline import keys
from fedsafe.pipeline.opening import open_run
from fedsafe.pipeline.run_defense import as_json, run_defense
from fedsafe.pipeline.run_state import ADAPTER, Run
from fedsafe.runs.events import Events
from fedsafe.runs.records import Scores, Stage, Summary
from fedsafe.runs.store import Store
from fedsafe.shields import load_shield, save_shield


def defend_all(run: Run) -> None:
    """Run the defenses of the experiment that are left; one that fails does not stop the others.

    Raises:
        FedSafeError: The model that they begin with cannot be used.
    """
    for choice in run.experiment.defenses:
        if run.known(f"defended:{choice.name}") is None:
            stage = attempt(run, choice)
            if stage.status == "failed":
                run.events("note", f"Defense '{choice.name}' failed: {stage.reason}")


def defend(run: Run, choice: PluginChoice) -> Stage:
    """Apply one defense to the run's model, evaluate the result, and keep the stage.

    Args:
        run: A run whose federation is done, or that holds a given adapter.
        choice: The defense.

    Raises:
        RunError: There is no trained model to defend yet, or the defense failed.
    """
    stage = attempt(run, choice)
    if stage.status == "failed":
        run.settle()
        raise RunError(f"Defense '{choice.name}' failed: {stage.reason}")
    return stage


def attempt(run: Run, choice: PluginChoice) -> Stage:
    """Apply one defense; return its stage, which is failed where the defense failed.

    Raises:
        RunError: There is no trained model to defend yet, or it cannot be used.
    """
    defended = run.known(run.main)
    if defended is None:
        raise RunError(
            f"{run.store.directory} has no trained model to defend yet. Finish it with "
            f"`fedsafe resume {run.store.directory}`."
        )
    adapter = run.adapter(defended)
    settings = as_json(defenses[choice.name].resolve(choice.settings))
    whole = PluginChoice.model_validate({**settings, "name": choice.name})
    avoid = frozenset(normalise(prompt.instruction) for prompt in prompts_of(run.experiment))
    fingerprint = run.session.fingerprint
    inputs = keys.defense_inputs(
        run.experiment, fingerprint, defended.adapter, whole, avoid, run.before_federation
    )
    key = keys.key(inputs)
    directory = _directory(run, choice, key)
    name = _stage_name(run, choice, directory)
    run.events("stage-start", stage=name)
    try:
        return _defend(run, choice, adapter, avoid, directory, key, name)
    except Exception as error:  # noqa: BLE001 - a mistake in somebody's plug-in, too
        return run.keep(
            Stage(
                name=name,
                adapter="",
                path="",
                scores=Scores(),
                seconds=0.0,
                evaluation="",
                key=key,
                status="failed",
                reason=str(error) if isinstance(error, FedSafeError) else _sentence(error),
            )
        )


def _defend(
    run: Run,
    choice: PluginChoice,
    adapter: adapters.Tensors,
    avoid: frozenset[str],
    directory: Path,
    key: str,
    name: str,
) -> Stage:
    experiment = run.experiment
    keep = experiment.evaluation.overlap == "keep"
    if run.shared is not None and not directory.is_dir():
        run.shared.fetch(key, directory)
    made = run_defense(
        run.session,
        adapter,
        choice,
        seed=experiment.seed,
        start=run.start,
        key=key,
        directory=directory,
        avoid=avoid,
        judge=experiment.evaluation.judge,
        overlap=OverlapCounter(signatures(experiment), keep),
        events=run.events,
    )
    if run.shared is not None:
        files = [path for path in directory.rglob("*") if path.is_file()]
        run.shared.put(key, directory, [str(path.relative_to(directory)) for path in files])
    home = directory / "adapter"
    stage = run.finish(name, made.adapter, home, made.seconds, key=key, overlap=made.overlap)
    if any(other.judge != stage.judge for other in run.stages if other.status == "done"):
        reevaluate(run)  # a table of two judges compares nothing
    return stage


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _directory(run: Run, choice: PluginChoice, key: str) -> Path:
    """Return where a defense's work is kept, named by all it depends on."""
    name = choice.name.replace(":", "-").replace("/", "-")
    return run.store.directory / "defenses" / f"{name}-{key[:8]}"


def _stage_name(run: Run, choice: PluginChoice, directory: Path) -> str:
    """Name a defense's stage; one with other settings than the first carries its key."""
    name = f"defended:{choice.name}"
    taken = run.known(name)
    path = str((directory / "adapter").relative_to(run.store.directory))
    return name if taken is None or taken.path == path else f"defended:{directory.name}"


def defend_adapter(
    experiment: Experiment, adapter: Path, choice: PluginChoice, store: Store, events: Events
) -> Summary:
    """Evaluate an adapter from anywhere, defend it, and evaluate the result.

    Several defenses of one adapter may go into one directory, one after the other.

    Args:
        experiment: Its model, template, suites, judge and seed.
        adapter: Directory of a PEFT adapter.
        choice: The defense.
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
        defend(run, choice)
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
            found=stage.detection,
            overlap=stage.overlap,
        )
    return run.settle()

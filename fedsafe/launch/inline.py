"""Run, resume, defend and evaluate in this process.

The server and client code is the one that Flower runs elsewhere.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsafe.app import activate
from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.pipelines import Pipelines, pipelines_of
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.runs.events import Events, Listener
from fedsafe.runs.records import Summary
from fedsafe.runs.store import CLIENTS, Store

if TYPE_CHECKING:
    from fedsafe.pipeline.stage_store import StageStore

RUNTIME = "inline"
NO_MODEL = (
    "{0} cannot be judged without loading its model: replies of a stage are not there, or the "
    "judge asks the model itself. Use `fedsafe evaluate`."
)
NO_STAGE = "{0} has no stage to evaluate yet. Finish it with `fedsafe resume {0}`."


def run(
    experiment: Experiment,
    directory: Path,
    listen: Listener | None = None,
    shared: "Path | StageStore | None" = None,
    until: str = "",
) -> Summary:
    """Run an experiment into a directory, or what is left of it.

    Args:
        experiment: What to run.
        directory: The run directory.
        listen: Called with each event.
        shared: Finished stages that several runs share, or their directory; a stage that another
            run has made already is taken from it.
        until: Stop after this stage, ``base`` or ``aligned``; empty: run all.

    Returns:
        The summary; its status is failed where a defense failed.

    Raises:
        FedSafeError: Another stage failed; the summary says where and why.
    """
    _quiet()
    activate()
    from fedsafe.flower.compatibility import check

    check("launch")
    from clients.app import app
    from fedsafe.launch.grid import InlineGrid
    from fedsafe.pipeline.stage_store import StageStore
    from server.experiment import run_experiment

    store = Store(directory)
    grid = InlineGrid(app, experiment.federation.clients, store.directory / CLIENTS)
    events = Events(store.events, listen)
    stages = StageStore(shared) if isinstance(shared, Path) else shared
    with events.ticking():
        return run_experiment(grid, experiment, store, events, RUNTIME, shared=stages, until=until)


def resume(directory: Path, listen: Listener | None = None) -> Summary:
    """Go on with a run where it stopped.

    Raises:
        RunError: The directory holds no run.
        FedSafeError: It failed again.
    """
    return run(Store(directory).experiment, directory, listen)


def defend(
    directory: Path,
    pipelines: Sequence[Sequence[PluginChoice]],
    listen: Listener | None = None,
    attacked_again: int | None = None,
) -> Summary:
    """Apply more defenses to a finished run, and evaluate each step.

    Settings that are not given come from the run's experiment, where it has the same defense.

    Args:
        directory: The run directory.
        pipelines: The defenses of each, in order; none: only a second attack.
        listen: Called with each event.
        attacked_again: Rounds that the federation goes on for, its attackers in it, from the last
            model of each pipeline, or without pipelines from each that the run has; None: none.

    Raises:
        FedSafeError: The run is not finished, a defense failed, or nobody can attack again.
    """
    _quiet()
    activate()
    from fedsafe.launch.attacking_again import attack_again
    from fedsafe.pipeline.defend import defend as defend_run
    from fedsafe.pipeline.opening import open_run, see_that_defenses_have_their_files
    from fedsafe.pipeline.second_attack import check_finished, ends

    store = Store(directory)
    experiment = store.experiment
    asked = _checked(experiment, defenses=_completed(pipelines, experiment))
    see_that_defenses_have_their_files(asked)
    events = Events(store.events, listen)
    with store.lock(), events.ticking():
        opened = open_run(experiment, store, events, RUNTIME)
        if attacked_again is not None:
            check_finished(opened, asked.defenses or ends(opened.stages))
        made = [defend_run(opened, choices) for choices in pipelines_of(asked.defenses)]
        if attacked_again is not None:
            attack_again(opened, attacked_again, made or ends(opened.stages))
        return opened.settle()


def evaluate(
    directory: Path,
    listen: Listener | None = None,
    judge: PluginChoice | None = None,
    second: Sequence[PluginChoice] = (),
    *,
    shields: Sequence[PluginChoice] = (),
    load: bool = True,
) -> Summary:
    """Evaluate every stage of a run again, perhaps with other judges.

    Replies that are on disk already are judged anew, with no model loaded; what another judge
    said of them stays where it is. Without a judge those of the experiment judge; without
    ``load`` the run's model is never loaded. Shields stand in place of the experiment's.

    Raises:
        FedSafeError: The run has no stages, the judge failed, or the model was to be loaded.
    """
    _quiet()
    activate()
    from fedsafe.evaluation.evaluate import with_judge
    from fedsafe.evaluation.served import with_shields
    from fedsafe.pipeline.defend import reevaluate
    from fedsafe.pipeline.opening import open_run
    from fedsafe.pipeline.rejudging import rejudge_run

    store = Store(directory)
    experiment = with_shields(with_judge(store.experiment, judge, *second), shields)
    _checked(experiment)
    events = Events(store.events, listen)
    with store.lock(), events.ticking():
        if not shields and (judged := rejudge_run(store, experiment, events)) is not None:
            return judged
        if not load:
            raise RunError(NO_MODEL.format(directory))
        opened = open_run(store.experiment, store, events, RUNTIME)
        if not opened.stages:
            raise RunError(NO_STAGE.format(directory))
        opened.experiment = experiment
        return reevaluate(opened)


def defend_adapter(
    model: str,
    adapter: Path,
    pipelines: Sequence[Sequence[PluginChoice]],
    output: Path,
    experiment: Experiment,
    listen: Listener | None = None,
) -> Summary:
    """Evaluate any PEFT adapter of any model, defend it, and evaluate each step.

    The last defended adapter lies at ``stages[-1].path`` of the summary, in the output directory.

    Raises:
        FedSafeError: Model, adapter or defenses do not work out.
    """
    _quiet()
    activate()
    from fedsafe.models import adapters
    from fedsafe.pipeline import defend as defenses
    from fedsafe.pipeline.opening import see_that_defenses_have_their_files

    asked = _checked(
        experiment.model_copy(update={"attack": None}),
        model=experiment.model.model_copy(update={"path": model}),
        adapter=adapters.spec_of(adapter),
        defenses=_completed(pipelines, experiment),
    )
    see_that_defenses_have_their_files(asked)
    store = Store(output)
    events = Events(store.events, listen)
    with events.ticking():
        return defenses.defend_adapter(asked, adapter, pipelines_of(asked.defenses), store, events)


def _completed(pipelines: Sequence[Sequence[PluginChoice]], experiment: Experiment) -> Pipelines:
    """Return pipelines with the experiment's settings of the same defenses, where none is given."""
    planned = {
        c.name: c.settings for steps in reversed(pipelines_of(experiment.defenses)) for c in steps
    }
    whole = [
        tuple(
            PluginChoice(**{**planned.get(c.name, {}), **c.settings, "name": c.name}) for c in one
        )
        for one in pipelines
    ]
    return tuple(steps[0] if len(steps) == 1 else steps for steps in whole)


def align(experiment: Experiment, directory: Path, listen: Listener | None = None) -> Summary:
    """Evaluate the base model, align it, and evaluate the result, without a federation.

    The aligned adapter lies at ``stages[-1].path`` of the summary.

    Raises:
        FedSafeError: Model or data do not work out, or the directory holds something else.
    """
    _quiet()
    activate()
    from fedsafe.pipeline.align import align_alone

    store = Store(directory)
    events = Events(store.events, listen)
    with events.ticking():
        return align_alone(experiment, store, events)


def _checked(experiment: Experiment, **changes: Any) -> Experiment:
    """Return the changed experiment, checked as if it had been written so."""
    changed = experiment.model_copy(update=changes)
    return validate(changed.model_dump(mode="json"))


def _quiet() -> None:
    """Keep libraries from calling home and from writing over the progress."""
    import os
    import signal
    import threading

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

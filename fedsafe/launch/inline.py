"""Run, resume, defend and evaluate in this process.

The server and client code is the one that Flower runs elsewhere.
"""

from pathlib import Path
from typing import Any

from fedsafe.app import activate
from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.runs.events import Events, Listener
from fedsafe.runs.records import Summary
from fedsafe.runs.store import CLIENTS, Store

RUNTIME = "inline"


def run(
    experiment: Experiment,
    directory: Path,
    listen: Listener | None = None,
    shared: Path | None = None,
) -> Summary:
    """Run an experiment into a directory, or what is left of it.

    Args:
        experiment: What to run.
        directory: The run directory.
        listen: Called with each event.
        shared: Directory of finished stages that several runs share; a stage that another run
            has made already is taken from it.

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
    stages = None if shared is None else StageStore(shared)
    with events.ticking():
        return run_experiment(grid, experiment, store, events, RUNTIME, shared=stages)


def resume(directory: Path, listen: Listener | None = None) -> Summary:
    """Go on with a run where it stopped.

    Raises:
        RunError: The directory holds no run.
        FedSafeError: It failed again.
    """
    return run(Store(directory).experiment, directory, listen)


def defend(
    directory: Path,
    name: str,
    settings: dict[str, Any],
    listen: Listener | None = None,
) -> Summary:
    """Apply one more defense to a finished run, and evaluate it.

    Settings that are not given come from the run's experiment, where it names the
    same defense.

    Raises:
        FedSafeError: The run is not finished, or the defense failed.
    """
    _quiet()
    activate()
    from fedsafe.pipeline.defend import defend as defend_run
    from fedsafe.pipeline.opening import open_run

    store = Store(directory)
    experiment = store.experiment
    planned = {choice.name: choice.settings for choice in experiment.defenses}
    choice = PluginChoice.model_validate({"name": name, **planned.get(name, {}), **settings})
    _checked(experiment, defenses=(choice,))
    events = Events(store.events, listen)
    with store.lock(), events.ticking():
        opened = open_run(experiment, store, events, RUNTIME)
        defend_run(opened, choice)
        return opened.settle()


def evaluate(
    directory: Path, listen: Listener | None = None, judge: PluginChoice | None = None
) -> Summary:
    """Evaluate every stage of a run again, perhaps with another judge.

    Replies that are on disk already are judged anew, with no model loaded; what another judge
    said of them stays where it is.

    Raises:
        FedSafeError: The run has no stages, or the judge failed.
    """
    _quiet()
    activate()
    from fedsafe.evaluation.evaluate import with_judge
    from fedsafe.pipeline.defend import reevaluate
    from fedsafe.pipeline.opening import open_run
    from fedsafe.pipeline.rejudging import rejudge_run

    store = Store(directory)
    experiment = with_judge(store.experiment, judge)
    _checked(experiment)
    events = Events(store.events, listen)
    with store.lock(), events.ticking():
        judged = rejudge_run(store, experiment, events)
        if judged is not None:
            return judged
        opened = open_run(store.experiment, store, events, RUNTIME)
        if not opened.stages:
            raise RunError(
                f"{directory} has no stage to evaluate yet. Finish it with "
                f"`fedsafe resume {directory}`."
            )
        opened.experiment = experiment
        return reevaluate(opened)


def defend_adapter(
    model: str,
    adapter: Path,
    name: str,
    settings: dict[str, Any],
    output: Path,
    experiment: Experiment,
    listen: Listener | None = None,
) -> Summary:
    """Evaluate any PEFT adapter of any model, defend it, and evaluate the result.

    The defended adapter lies at ``stages[-1].path`` of the summary, in the output directory.

    Raises:
        FedSafeError: Model, adapter or defense do not work out.
    """
    _quiet()
    activate()
    from fedsafe.models import adapters
    from fedsafe.pipeline import defend as defenses

    planned = next((one.settings for one in experiment.defenses if one.name == name), {})
    asked = _checked(
        experiment.model_copy(update={"attack": None}),
        model=experiment.model.model_copy(update={"path": model}),
        adapter=adapters.spec_of(adapter),
        defenses=(PluginChoice.model_validate({"name": name, **planned, **settings}),),
    )
    store = Store(output)
    events = Events(store.events, listen)
    with events.ticking():
        return defenses.defend_adapter(asked, adapter, asked.defenses[0], store, events)


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

"""Open a run directory: load data and model, and check consistency before a resume.

On a second start experiment, model, data and records must be those that the run began with.
"""

from collections.abc import Mapping
from pathlib import Path

from fedsafe.contracts import REGISTRIES
from fedsafe.data.aligned_examples import aligned_samples
from fedsafe.data.client_datasets import data_hashes, left_out
from fedsafe.errors import DataError, RunError
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.experiment.pipelines import pipelines_of
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.lazy import torch
from fedsafe.models.start_adapter import check_start
from fedsafe.pipeline.run_state import ADAPTER, ALIGNMENT, DEPLOYMENT, Run
from fedsafe.pipeline.stage_store import StageStore
from fedsafe.runs.events import Events
from fedsafe.runs.layout import RunFile
from fedsafe.runs.provenance import observe
from fedsafe.runs.records import Provenance
from fedsafe.runs.store import Store
from fedsafe.training.session import Session, resident


def open_run(
    experiment: Experiment,
    store: Store,
    events: Events,
    runtime: str,
    shared: StageStore | None = None,
) -> Run:
    """Read data and prompts, load the model, and claim the run directory.

    The quick things come first, and nothing is written before all have been read, so
    that a mistake does not leave a directory behind that only the mistake fits. In a
    deployment the data are the clients' and not read here: they say what they hold.

    Args:
        experiment: What to run.
        store: The run directory.
        events: Receives progress events.
        runtime: inline, simulation, deployment or adapter; of a run that has begun only
            whether its clients are in this process is taken from it.
        shared: Finished stages of other runs.

    Raises:
        RunError: The directory holds something else, or model or data have changed, or a
            record of the run was.
        ModelError: The model cannot be loaded.
        DataError: The data cannot be read.
    """
    store.check(experiment)
    known = store.provenance()
    same_experiment(store, known)
    kind = runtime if known is None else known.runtime
    apart = {DEPLOYMENT, ADAPTER, ALIGNMENT} & {runtime, kind}
    hashes = {} if apart else data_hashes(experiment)
    _read_what_is_small(experiment, apart=bool(apart))
    session, seconds = resident(experiment, trains=_trains(experiment, runtime))
    _unchanged(known, session.fingerprint, known.data if known and apart else hashes)
    summary = store.summary()
    store.open(experiment)
    events("note", f"Base model ready in {seconds:.1f} s.", fingerprint=session.fingerprint)
    _say_how(events, session, known)
    _note_limits(experiment, events, session.max_length, {} if apart else left_out(experiment))
    if known is None:
        known = _begin(store, session, hashes, runtime)
    run = Run(experiment, store, events, session, kind, known.run or known.started, hashes, shared)
    if summary is not None:
        run.stages, run.seconds_before = list(summary.stages), summary.seconds
        run.earlier = (summary.status, summary.reason)
    return run


def _begin(store: Store, session: Session, data: Mapping[str, str], runtime: str) -> Provenance:
    """Write down where a run begins and with what."""
    known = observe(
        model=session.fingerprint,
        data=dict(data),
        runtime=runtime,
        gpus=[torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        experiment=store.experiment_digest(),
        compute=str(session.loaded.compute),
        max_length=session.max_length,
    )
    store.write_provenance(known)
    return known


def _read_what_is_small(experiment: Experiment, *, apart: bool) -> None:
    """Read prompts and aligned examples and check files and start adapter, before the model.

    Raises:
        DataError: Prompts or examples cannot be read, or a file is not there.
        ModelError: The start adapter does not suit the model or the experiment.
    """
    prompts_of(experiment)
    _see_that_files_exist(experiment, apart=apart)
    if experiment.alignment is not None:
        aligned_samples(experiment.alignment, experiment.seed)
    check_start(experiment)


def _say_how(events: Events, session: Session, known: Provenance | None) -> None:
    """Say what the model computes in, and what is kept of its frozen layers."""
    now = str(session.loaded.compute)
    events("note", now)
    if known is not None and known.compute not in ("", now):
        events("note", f"Before, this run said: {known.compute} Its bits may now differ.")
    frozen = session.loaded.frozen
    if frozen is not None and (said := str(frozen)):
        events("note", said)


def _note_limits(
    experiment: Experiment, events: Events, length: int, missing: Mapping[str, int]
) -> None:
    """Tell what of the data is not trained on: cut by the model's positions, or left out."""
    asked = experiment.data.max_length
    if length < asked:
        said = f"data.max_length is {asked}, and the model has {length} positions"
        events("note", f"{said}: longer examples are cut after {length} tokens.", max_length=length)
    for what, times in missing.items():
        events("note", f"Left out of the data: {times} {what}.")


def _trains(experiment: Experiment, runtime: str) -> bool:
    """Whether this process trains: the clients in it, the server's own examples, or a defense."""
    own = experiment.federation.root is not None or experiment.alignment is not None
    return own or runtime in {"inline", ADAPTER} or bool(experiment.defenses)


def same_kind(store: Store, runtime: str) -> None:
    """Compare where a run takes place with where it began.

    A run on separate machines cannot go on in one process, or the reverse: it would be another
    experiment, with other data and other attackers.

    Raises:
        RunError: They differ.
    """
    known = store.provenance()
    if known is None:
        return
    if known.runtime == ADAPTER:
        raise RunError(
            f"{store.directory} holds the defenses of a given adapter; there is no federation to "
            f"go on with. Add a defense with `fedsafe defend {store.directory} --with NAME`."
        )
    if known.runtime == ALIGNMENT:
        raise RunError(
            f"{store.directory} holds an aligned adapter; there is no federation to go on with. "
            "Give `fedsafe align` again to finish it, or begin a federation with it: "
            f"--set adapter.start={store.directory / RunFile.ALIGNMENT / 'adapter'}."
        )
    if (known.runtime == DEPLOYMENT) != (runtime == DEPLOYMENT):
        raise RunError(
            f"The run in {store.directory} began as '{known.runtime}', where the clients have "
            f"other data than as '{runtime}'. Go on with the command that began it, or choose "
            "another directory with -o."
        )


def same_experiment(store: Store, known: Provenance | None) -> None:
    """Compare experiment.yaml with the one that the run began with.

    Raises:
        RunError: They differ.
    """
    if known is None or not known.experiment:
        return
    if store.experiment_digest() != known.experiment:
        raise RunError(
            f"{store.directory / RunFile.EXPERIMENT} was changed or damaged since the run began. "
            "Restore it from a copy, or start a new run in another directory with -o."
        )


def _see_that_files_exist(experiment: Experiment, *, apart: bool) -> None:
    """Look for the files of parts that are needed only later; an attacker's lie with it.

    Raises:
        DataError: One is not there.
    """
    attack, root, alignment = experiment.attack, experiment.federation.root, experiment.alignment
    see_that_defenses_have_their_files(experiment)
    for one in experiment.federation.strategy.filters:
        _check_files(f"filter {one.name}", "filter", one)
    later = (
        ("attack.generator", "generator", attack.generator if attack and not apart else None),
        ("federation.root", "source", root),
        ("alignment.source", "source", alignment.source if alignment else None),
    )
    for place, kind, choice in later:
        if choice is not None:
            _check_files(place, kind, choice)


def see_that_defenses_have_their_files(experiment: Experiment) -> None:
    """Look for the files and directories that settings of defenses name.

    Raises:
        DataError: One is not there.
    """
    for steps in pipelines_of(experiment.defenses):
        for choice in steps:
            _check_files(choice.name, "defense", choice)


def _check_files(place: str, kind: str, choice: PluginChoice) -> None:
    settings = REGISTRIES[kind][choice.name].resolve(choice.settings)
    for name, value in settings.items():
        if isinstance(value, Path) and not value.exists():
            raise DataError(f"{place}.{name}: there is no file {value}.")


def _unchanged(known: Provenance | None, model: str, data: Mapping[str, str]) -> None:
    """Compare the model and the data with those that a run began with.

    Raises:
        RunError: They differ.
    """
    if known is None:
        return
    for what, before, now in (
        ("base model, tokenizer or template", known.model, model),
        ("data", known.data, data),
    ):
        if before != now:
            raise RunError(
                f"The {what} changed since this run began. Put it back, or start a new run in "
                "another directory with -o."
            )

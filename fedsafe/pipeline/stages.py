"""Run an experiment's stages: base, aligned, clean control, attack, defenses, each evaluated.

Each stage is kept as it ends; a run that is started again goes on with the first stage that
is missing. Knows nothing of terminals, reports or networks.
"""

from contextlib import suppress
from shutil import rmtree

from fedsafe.errors import FedSafeError, RunError
from fedsafe.evaluation.measures import detection
from fedsafe.evaluation.overlap import attack_overlap, benign_overlap, signatures
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters
from fedsafe.pipeline import keys
from fedsafe.pipeline.align import align, evaluate_base
from fedsafe.pipeline.defend import defend_all
from fedsafe.pipeline.early_stopping import check_watched, early_stop
from fedsafe.pipeline.estimate import estimate
from fedsafe.pipeline.federation import FINISHED, Clients, Connect, Name
from fedsafe.pipeline.opening import open_run, same_kind
from fedsafe.pipeline.run_state import ALIGNED, BASE, DEPLOYMENT, Run
from fedsafe.pipeline.second_attack import attack_again, check_place
from fedsafe.pipeline.stage_notes import StageNotes
from fedsafe.pipeline.stage_store import StageStore
from fedsafe.runs.events import Events
from fedsafe.runs.files import digest, disk_space_for
from fedsafe.runs.records import Summary
from fedsafe.runs.store import CLIENTS, FederationStore, Store


def run_pipeline(
    connect: Connect,
    experiment: Experiment,
    store: Store,
    events: Events,
    runtime: str,
    shared: StageStore | None = None,
    until: str = "",
) -> Summary:
    """Run all stages of an experiment, or those that are left; a defense may fail.

    Args:
        connect: Makes the run's clients.
        experiment: What to run.
        store: The run directory.
        events: Receives progress events.
        runtime: inline, simulation or deployment.
        shared: Finished stages of other runs; new ones are put into it.
        until: Stop after this stage, ``base`` or ``aligned``; empty: run all.

    Returns:
        The summary: completed, or failed with a reason where a defense failed.

    Raises:
        FedSafeError: Another stage failed; the summary says which and why.
    """
    with store.lock():
        same_kind(store, runtime)
        run = open_run(experiment, store, events, runtime, shared)
        events("run-start", directory=str(store.directory), name=experiment.name)
        try:
            with disk_space_for(store.directory):
                _run_stages(run, connect(run), until)
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
        summary = run.settle()
        events("run-end", status=summary.status, seconds=summary.seconds)
        return summary


def _give_up(run: Run, status: str, reason: str) -> None:
    """Write the summary, unless that is what failed: the reason must not be lost over it."""
    with suppress(RunError, OSError):
        run.summarise(status, reason)


def _run_stages(run: Run, clients: Clients, until: str = "") -> None:
    check_place(run)
    if run.shared is None:  # of many runs together another estimate is made
        estimate(run)
    if run.known(BASE) is None:
        evaluate_base(run)
    if ALIGNED in run.planned and run.known(ALIGNED) is None and until != BASE:
        align(run)
    if until:
        return
    for name in ("clean", run.main):
        if name in run.planned and run.known(name) is None:
            _train(run, clients, name)
    second = run.experiment.second_attack
    if second is None:
        clients.end_rounds()  # also where the rounds were over before this process began
    defend_all(run)
    if second is not None:
        attack_again(run, clients, second)
        clients.end_rounds()
    clients.close()


def _train(run: Run, clients: Clients, name: str) -> None:
    """Run one federation, the control or the main one, and evaluate its model."""
    run.events("stage-start", stage=name)
    control = name == "clean"
    store: FederationStore = run.store.control if control else run.store
    experiment = run.experiment.honest() if control else run.experiment
    check_watched(experiment, run.stages[0].scores)
    apart = run.identity if run.runtime == DEPLOYMENT else ""
    inputs = keys.federation_inputs(
        experiment, run.session.fingerprint, run.data, apart, run.before_federation
    )
    if experiment.attack is not None and experiment.evaluation.overlap == "remove":
        inputs["evaluation prompts"] = digest(signatures(experiment).dumps())
    key = keys.key(inputs)
    if not _shared(run, key, store):
        _compare_inputs(store, inputs)
        part: Name = "control" if control else "main"
        clients.federation(part, experiment, store).run()
        if run.shared is not None:
            run.shared.put(key, store.directory, FINISHED, probe=_probe_settings(experiment))
    if not control and run.experiment.second_attack is None:
        clients.end_rounds()
    rounds = store.rounds()
    attacked = experiment.attack is not None or any(c.malicious for r in rounds for c in r.clients)
    found = detection(rounds) if attacked else None
    adapter = adapters.load(store.adapter)
    seconds = sum(r.seconds for r in rounds)
    kept = experiment.evaluation.overlap == "keep"
    overlap = attack_overlap(rounds, kept=kept, contaminated=experiment.contaminated)
    if overlap is None and run.data:  # honest, and with data that the server deals
        overlap = benign_overlap(experiment)
    stop = early_stop(experiment, rounds)
    beside = StageNotes(key=key, detection=found, overlap=overlap, early_stop=stop)
    run.finish(name, adapter, store.adapter, seconds, **beside)


def _shared(run: Run, key: str, store: FederationStore) -> bool:
    """Take a federation from the shared stages, unless it has begun here; return whether."""
    if run.shared is None or store.checkpoints():
        return False
    notes = run.shared.fetch(key, store.directory)
    if notes is None:
        return False
    if notes.get("probe") != _probe_settings(run.experiment):  # they are another evaluation's
        bare = [record.model_copy(update={"probe": None}) for record in store.rounds()]
        store.write_rounds(bare)
    run.events("note", f"Another run has made this stage already; it is reused (key {key[:8]}).")
    return True


def _probe_settings(experiment: Experiment) -> str:
    """Return the sha256 of what the small evaluations between rounds depend on."""
    return digest(experiment.evaluation.model_dump_json())


def _compare_inputs(store: FederationStore, inputs: keys.Inputs) -> None:
    """Compare what a federation depends on with what it began with, and write it down at first.

    Raises:
        RunError: A file that it depends on was changed meanwhile.
    """
    before = store.inputs()
    if before is None or not store.checkpoints():
        store.write_inputs(inputs)
        return
    if different := keys.changed(before, inputs):
        raise RunError(
            f"What this federation depends on was changed since it began: {', '.join(different)}. "
            "Put it back, or start a new run in another directory with -o."
        )

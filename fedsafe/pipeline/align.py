"""The alignment stage: the server fine-tunes the base model before the federation begins.

What is made lies in ``alignment/``, whole or not at all, named by the key of all it depends on:
a run that is started again, or another run with the same store, does not make it twice.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from fedsafe.contracts import Sample
from fedsafe.data.aligned_examples import aligned_samples
from fedsafe.data.dedup import normalise, overlap
from fedsafe.errors import RunError
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.experiment.schema import Alignment, Experiment
from fedsafe.models import adapters
from fedsafe.pipeline import keys
from fedsafe.pipeline.estimate import estimate
from fedsafe.pipeline.opening import open_run
from fedsafe.pipeline.run_defense import defense_context
from fedsafe.pipeline.run_state import ALIGNED, ALIGNMENT, BASE, Run
from fedsafe.runs.checksums import read_sealed, write_sealed
from fedsafe.runs.events import Events
from fedsafe.runs.files import digest, whole_directory
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Stage, Summary
from fedsafe.runs.store import Store
from fedsafe.seeds import stream

RECORD = "alignment.json"


def evaluate_base(run: Run) -> Stage:
    """Evaluate the adapter that training begins with, as stage ``base``."""
    run.events("stage-start", stage=BASE)
    start = run.start
    path = run.store.directory / RunFile.BASE_ADAPTER
    adapters.save(path, start, run.session.loaded.model)
    inputs = keys.base_inputs(run.experiment, run.session.fingerprint, run.given)
    return run.finish(BASE, start, path, 0.0, key=keys.key(inputs))


def align(run: Run) -> Stage:
    """Fine-tune the adapter on the aligned data, and evaluate it as stage ``aligned``.

    Raises:
        DataError: The aligned data cannot be read, or there are none.
        RunError: What lies in the run directory is not what was written there.
    """
    alignment = run.experiment.alignment
    assert alignment is not None
    run.events("stage-start", stage=ALIGNED)
    samples = aligned_samples(alignment, run.experiment.seed)
    fingerprint = run.session.fingerprint
    inputs = keys.alignment_inputs(run.experiment, fingerprint, run.given, alignment, samples)
    key = keys.key(inputs)
    home = run.store.directory / RunFile.ALIGNMENT
    if not _finished(home, key) and not (run.shared and run.shared.fetch(key, home) is not None):
        _train(run, alignment, samples, home, key)
        if run.shared is not None:
            run.shared.put(key, home)
    adapter = adapters.load(home / "adapter")
    record = read_sealed(home / RECORD)
    if record.get("adapter") != adapters.digest(adapter):
        raise RunError(
            f"{home} holds another adapter than the one that {RECORD} tells of. Remove it to align "
            "the model again."
        )
    seconds = float(record["seconds"])
    return run.finish(ALIGNED, adapter, home / "adapter", seconds, key=key)


def align_alone(experiment: Experiment, store: Store, events: Events) -> Summary:
    """Evaluate a base model, align it, and evaluate the result; there is no federation.

    Args:
        experiment: With its alignment; attack, defenses and federation are passed over.
        store: The directory of the results, laid out as a run directory.
        events: Receives progress events.

    Raises:
        FedSafeError: Model or data do not work out, or the directory holds something else.
    """
    bare = experiment.model_copy(update={"attack": None, "defenses": ()})
    with store.lock():
        run = open_run(bare, store, events, ALIGNMENT)
        events("run-start", directory=str(store.directory), name=bare.name)
        estimate(run)
        if run.known(BASE) is None:
            evaluate_base(run)
        if run.known(ALIGNED) is None:
            align(run)
        summary = run.settle()
        events("run-end", status=summary.status, seconds=summary.seconds)
        return summary


def _finished(home: Path, key: str) -> bool:
    """Whether a directory holds the finished alignment of a key; one of another is made anew."""
    path = home / RECORD
    return path.is_file() and read_sealed(path).get("key") == key


def _train(run: Run, alignment: Alignment, samples: Sequence[Sample], home: Path, key: str) -> None:
    """Fine-tune, and write adapter and record."""
    begun = time.perf_counter()
    _compare_with_prompts(run, samples)
    run.session.put(run.start)
    rng = stream(run.experiment.seed, "alignment")
    report = defense_context(run.session, rng, run.events).fit(
        samples,
        alignment.objective.name,
        steps=alignment.steps,
        batch_size=alignment.batch_size,
        learning_rate=alignment.learning_rate,
        **alignment.objective.settings,
    )
    aligned = run.session.read()
    with whole_directory(home) as aside:
        adapters.save(aside / "adapter", aligned, run.session.loaded.model)
        record = {
            "key": key,
            "adapter": adapters.digest(aligned),
            "examples": {"rows": len(samples), "sha256": digest(*map(repr, samples))},
            "loss": report.loss,
            "truncated": report.truncated,
            "dropped": report.dropped,
            "seconds": time.perf_counter() - begun,
        }
        write_sealed(aside / RECORD, record)


def _compare_with_prompts(run: Run, samples: Sequence[Sample]) -> None:
    """Say how many aligned examples are like evaluation prompts: those would be known by heart."""
    avoid = sorted({normalise(prompt.instruction) for prompt in prompts_of(run.experiment)})
    found = overlap([sample.instruction for sample in samples], avoid)
    if found.exact or found.near:
        run.events(
            "note",
            f"Of the {len(samples)} aligned examples {found.exact} are evaluation prompts, and "
            f"{found.near} are like one.",
        )

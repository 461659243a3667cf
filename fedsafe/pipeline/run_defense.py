"""Run one post-hoc defense on an adapter, and keep what it made, whole or not at all.

A directory that holds the finished defense of the same key is read and not made again.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from fedsafe.contracts import (
    Defended,
    DefenseTask,
    Sample,
    ShieldChoice,
    defenses,
)
from fedsafe.data.dedup import normalise
from fedsafe.data.dedup import overlap as overlap_of
from fedsafe.errors import RunError
from fedsafe.evaluation.overlap import OverlapCounter
from fedsafe.experiment.schema import PluginChoice
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.pipeline.defense_checkpoints import DefenseCheckpoints
from fedsafe.pipeline.defense_filter import DefenseFilter
from fedsafe.pipeline.served_template import keep_shield
from fedsafe.redaction import masked, revealed
from fedsafe.runs.checksums import read_sealed, write_sealed
from fedsafe.runs.events import Events
from fedsafe.runs.files import digest, private_directory, write_json, write_lines
from fedsafe.runs.records import Overlap
from fedsafe.seeds import stream
from fedsafe.shields.serving import load_shield
from fedsafe.training.context import SessionContext
from fedsafe.training.loop import Plan
from fedsafe.training.session import Session

RECORD = "defense.json"


@dataclass(frozen=True)
class Repaired:
    """A defended adapter, where it lies and what it cost."""

    adapter: adapters.Tensors
    directory: Path
    seconds: float
    overlap: Overlap | None = None
    """Of the data that it made with the evaluation's prompts."""


def run_defense(
    session: Session,
    adapter: "Mapping[str, torch.Tensor]",
    choice: PluginChoice,
    *,
    seed: int,
    start: adapters.Tensors,
    key: str,
    directory: Path,
    avoid: frozenset[str],
    judge: PluginChoice,
    overlap: OverlapCounter,
    events: Events,
    shield: ShieldChoice | None = None,
) -> Repaired:
    """Return the adapter after a defense, made now or found in the directory.

    Args:
        session: The model; its adapter is replaced.
        adapter: What to defend.
        choice: Which defense, with its settings.
        seed: Of the experiment.
        start: The adapter before the federation.
        key: sha256 of all that the result depends on.
        directory: Gets the adapter with its shield, if any, beside it, the data that the
            defense made, and ``defense.json``.
        avoid: Normalised instructions that defense data must not hold.
        judge: The evaluation's judge, with which no defense may filter its data.
        overlap: Counts the defense's texts that repeat evaluation prompts.
        events: Told how far it has come.
        shield: What the adapter is served with so far; kept where the defense brings no other.

    Raises:
        RunError: What lies in the directory is not what was written there.
    """
    if (found := _finished(directory, key)) is not None:
        return found
    private_directory(directory)
    begun = time.perf_counter()
    session.put(adapter)
    context = defense_context(session, stream(seed, "defense", choice.name), events)
    checkpoints = DefenseCheckpoints(directory, key, context, overlap)
    task = _task(start, avoid, DefenseFilter(context, judge), overlap, directory, checkpoints)
    defended = defenses[choice.name].configure(choice.settings)(context, task)
    repaired = _checked(choice.name, defended, session)
    adapters.save(directory / "adapter", repaired, session.loaded.model)
    shield = defended.shield or shield
    keep_shield(directory / "adapter", shield, session, events)
    seconds, made = time.perf_counter() - begun, overlap.record()
    record = {
        **_made_with(choice),
        "key": key,
        "adapter": adapters.digest(repaired),
        "seconds": seconds,
        "passes": dict(context.counted),
        "shield": shield.name if shield else None,
        "overlap": made.plain() if made else None,
    }
    write_sealed(directory / RECORD, record)  # last: with it the defense is done
    checkpoints.remove()
    return Repaired(repaired, directory, seconds, made)


def _made_with(choice: PluginChoice) -> dict[str, Any]:
    """Return a defense's name and settings, and what it says of itself."""
    plugin = defenses[choice.name]
    settings = plain(masked(plugin.resolve(choice.settings)))
    return {"name": choice.name, "settings": settings, **plugin.about}


def _checked(name: str, defended: Any, session: Session) -> adapters.Tensors:
    """Return the adapter that a defense made, if it is one of the model's.

    Raises:
        RunError: It returned something else, or values that are not finite.
    """
    if not isinstance(defended, Defended):
        raise RunError(
            f"Defense '{name}' returned a {type(defended).__name__}; it must return "
            "Defended(adapter, shield)."
        )
    repaired = dict(defended.adapter)
    if (bad := adapters.not_finite(repaired)) is not None:
        raise RunError(f"Defense '{name}' made values that are not finite in {bad}.")
    adapters.check(repaired, session.shapes)
    return repaired


def _finished(directory: Path, key: str) -> Repaired | None:
    """Return what a finished defense left, or None where it is not finished.

    Raises:
        RunError: What lies there is not what was written.
    """
    path = directory / RECORD
    if not path.is_file():
        return None
    record = read_sealed(path)
    tensors = adapters.load(directory / "adapter")
    if record.get("key") != key or record.get("adapter") != adapters.digest(tensors):
        raise RunError(
            f"{directory} holds another adapter than the one that {path.name} tells of. Remove "
            "it to run the defense again."
        )
    shield = load_shield(directory / "adapter")
    if record.get("shield") != (shield.name if shield else None):
        raise RunError(
            f"{directory} holds another shield than the one that {path.name} tells of. Remove it "
            "to run the defense again."
        )
    kept = record.get("overlap")
    overlap = Overlap.model_validate(kept) if kept else None
    return Repaired(tensors, directory, float(record["seconds"]), overlap)


def _task(
    start: adapters.Tensors,
    avoid: frozenset[str],
    filters: DefenseFilter,
    overlap: OverlapCounter,
    directory: Path,
    checkpoints: DefenseCheckpoints,
) -> DefenseTask:
    earlier: dict[str, Any] = {}

    def keep(name: str, samples: Sequence[Sample], card: Mapping[str, Any]) -> None:
        overlap.use(samples)
        write_lines(directory / f"{name}.jsonl", [asdict(sample) for sample in samples])
        stamp = {"rows": len(samples), "sha256": digest(*(repr(sample) for sample in samples))}
        made = overlap.record()
        repeats = {"evaluation": made.plain()} if made else {}
        others = {"other_data": dict(earlier)} if earlier else {}
        write_json(directory / "card.json", {**card, **repeats, **stamp, **others})
        earlier[name] = {**card, **stamp}  # the repeats are of all data so far

    return DefenseTask(
        start=start,
        avoid=avoid,
        normalise=normalise,
        near=lambda texts: overlap_of(texts, sorted(avoid)).near,
        judge=filters,
        keep=keep,
        fresh=overlap.fresh,
        filter=filters.default,
        checkpoints=checkpoints,
    )


def defense_context(session: Session, rng: Random, events: Events) -> SessionContext:
    """Return a defense's model context; its learning rate and batch size are its own settings.

    What a call of `fit` leaves out is the experiment's local training.
    """
    training = session.spec.training

    def report_progress(step: int, loss: float) -> None:
        events("train", step=step, steps=max(step, context.planned), loss=loss)

    context = SessionContext(
        session=session,
        plan=Plan(steps=training.steps, learning_rate=training.learning_rate),
        batch_size=training.batch_size,
        rng=rng,
        progress=report_progress,
        listener=lambda message, **numbers: events("note", message, **numbers),
    )
    return context


def plain(settings: Mapping[str, object]) -> dict[str, object]:
    """Return settings as JSON values for a record; what is none becomes its text.

    Secret ones are left out.
    """
    return as_json(masked(settings))


def as_json(settings: Mapping[str, object]) -> dict[str, object]:
    """Return settings as JSON values, secret ones in the clear: for digests alone.

    Lists and mappings stay such, so that a digest finds the files that a source names.
    """
    return {str(name): _json(revealed(value)) for name, value in settings.items()}


def _json(value: object) -> object:
    if isinstance(value, Mapping):
        return as_json(value)
    if isinstance(value, list | tuple):
        return [_json(revealed(item)) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)

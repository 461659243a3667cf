"""Run one post-hoc defense on an adapter, and keep what it made, whole or not at all.

Keyed by all it depends on, so that a defense is never run twice on the same thing.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from fedsafe.contracts import DefenseTask, Exchange, Sample, Verdict, defenses
from fedsafe.data.dedup import normalise, overlap
from fedsafe.experiment.schema import PluginChoice
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.runs.events import Events
from fedsafe.runs.files import digest, private_directory, write_json, write_lines
from fedsafe.seeds import stream
from fedsafe.training.context import SessionContext
from fedsafe.training.loop import Plan
from fedsafe.training.session import Session


@dataclass(frozen=True)
class Repaired:
    """A defended adapter, where it lies and what it cost."""

    adapter: adapters.Tensors
    directory: Path
    seconds: float


def repair(
    session: Session,
    adapter: "Mapping[str, torch.Tensor]",
    choice: PluginChoice,
    *,
    seed: int,
    home: Path,
    avoid: frozenset[str],
    judge: Callable[[Sequence[Exchange]], list[Verdict]],
    events: Events,
) -> Repaired:
    """Return the adapter after a defense.

    Args:
        session: The model; its adapter is replaced.
        adapter: What to repair.
        choice: Which defense, with its settings.
        seed: Of the experiment.
        home: Directory that gets ``<name>-<key>/``.
        avoid: Normalised instructions that defense data must not hold.
        judge: The experiment's judge.
        events: Told how far it has come.
    """
    settings = defenses[choice.name].resolve(choice.settings)
    directory = directory_of(session, adapter, choice, seed, home)
    done = directory / "adapter"
    if done.is_dir():
        return Repaired(adapters.load(done), directory, 0.0)
    private_directory(directory)
    begun = time.perf_counter()
    session.put(adapter)
    context = defense_context(session, stream(seed, "defense", choice.name), events)

    def keep(name: str, samples: Sequence[Sample], card: Mapping[str, Any]) -> None:
        write_lines(directory / f"{name}.jsonl", [asdict(sample) for sample in samples])
        stamp = {"rows": len(samples), "sha256": digest(*(repr(sample) for sample in samples))}
        write_json(directory / "card.json", {**card, **stamp})

    task = DefenseTask(
        start=session.start(seed),
        avoid=avoid,
        normalise=normalise,
        near=lambda texts: overlap(texts, sorted(avoid)).near,
        judge=judge,
        keep=keep,
    )
    defended = defenses[choice.name].configure(choice.settings)(context, task)
    repaired = dict(defended.adapter)
    write_json(directory / "defense.json", {"name": choice.name, "settings": _plain(settings)})
    adapters.save(done, repaired, session.loaded.model)
    return Repaired(repaired, directory, time.perf_counter() - begun)


def defense_context(session: Session, rng: Random, events: Events) -> SessionContext:
    """Return a defense's model context; its learning rate and batch size are its own settings.

    What a call of `fit` leaves out is the experiment's local training.
    """
    training = session.spec.training

    def told(step: int, loss: float) -> None:
        events("train", step=step, steps=max(step, context.planned), loss=loss)

    context = SessionContext(
        session=session,
        plan=Plan(steps=training.steps, learning_rate=training.learning_rate),
        batch_size=training.batch_size,
        rng=rng,
        progress=told,
        listener=lambda message, **numbers: events("note", message, **numbers),
    )
    return context


def directory_of(
    session: Session,
    adapter: "Mapping[str, torch.Tensor]",
    choice: PluginChoice,
    seed: int,
    home: Path,
) -> Path:
    """Return where a defense's work is kept, named by all it depends on."""
    settings = defenses[choice.name].resolve(choice.settings)
    key = digest(adapters.digest(adapter), session.fingerprint, choice.name, settings, seed)
    return home / f"{choice.name.replace(':', '-').replace('/', '-')}-{key[:8]}"


def _plain(settings: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value if isinstance(value, str | int | float | bool | None) else str(value)
        for name, value in settings.items()
    }

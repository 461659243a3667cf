"""Run one post-hoc defense on an adapter, and keep what it made, whole or not at all.

Keyed by all it depends on, so that a defense is never run twice on the same thing.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedsafe.contracts import Exchange, Verdict, defenses
from fedsafe.defenses.patient import SessionPatient
from fedsafe.experiment.schema import PluginChoice
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.runs.events import Events
from fedsafe.runs.files import digest, private_directory, write_json
from fedsafe.seeds import stream
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
    patient = SessionPatient(
        session=session,
        directory=directory,
        events=events,
        rng=stream(seed, "defense", choice.name),
        start=session.start(seed),
        avoid=avoid,
        verdicts=judge,
    )
    repaired = dict(defenses[choice.name].configure(choice.settings)(patient))
    write_json(directory / "defense.json", {"name": choice.name, "settings": _plain(settings)})
    adapters.save(done, repaired, session.loaded.model)
    return Repaired(repaired, directory, time.perf_counter() - begun)


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

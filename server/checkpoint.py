"""What a federation needs to go on after a crash, saved whole after every round.

Random streams are named by round, so none has to be saved.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fedsafe.errors import RunError
from fedsafe.lazy import torch
from fedsafe.runs.files import whole_directory
from fedsafe.runs.records import Round
from fedsafe.runs.store import FederationStore

ADAPTER, STATE, RECORD = "adapter.safetensors", "state.safetensors", "record.json"
_HALF = re.compile(r"\.(round-\d+|adapter|[a-z]+\.jsonl?)\.\d+|\.spool\.f32")


@dataclass(frozen=True)
class Progress:
    """How far a federation has come."""

    round: int
    """Last complete round; 0 before the first."""
    adapter: "Mapping[str, torch.Tensor]"
    state: "Mapping[str, torch.Tensor]"
    """What the strategy remembers."""


def save(store: FederationStore, progress: Progress, rounds: list[Round], keep: int) -> None:
    """Save a finished round, then its record, then remove old checkpoints.

    Raises:
        RunError: The disk is full; the round before is whole.
    """
    size = sum(t.nbytes for t in (*progress.adapter.values(), *progress.state.values()))
    with whole_directory(store.checkpoint(progress.round), size) as aside:
        save_file(_whole(progress.adapter), aside / ADAPTER)
        save_file(_whole(progress.state), aside / STATE)
        record = rounds[-1].model_dump_json()
        (aside / RECORD).write_text(record, encoding="utf-8")
    store.write_rounds(rounds)
    for old in store.checkpoints()[:-keep]:
        shutil.rmtree(store.checkpoint(old), ignore_errors=True)


def tidy(store: FederationStore) -> None:
    """Remove what a process that was killed left half written."""
    for path in store.directory.glob(".*"):
        if _HALF.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def latest(store: FederationStore) -> tuple[Progress, list[Round]] | None:
    """Return the newest complete round and the records up to it, or None before the first.

    Raises:
        RunError: A checkpoint is there but cannot be read.
    """
    numbers = store.checkpoints()
    if not numbers:
        return None
    directory = store.checkpoint(numbers[-1])
    try:
        adapter = load_file(directory / ADAPTER)
        state = load_file(directory / STATE)
        last = Round.model_validate(json.loads(_text(directory / RECORD)))
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(
            f"The checkpoint {directory} cannot be read: {' '.join(str(error).split())[:120]}. "
            "Remove it to go on from the round before."
        ) from None
    rounds = [record for record in store.rounds() if record.round < last.round]
    if [record.round for record in rounds] != list(range(1, last.round)):
        raise RunError(
            f"{store.directory / 'rounds.jsonl'} lacks rounds before {last.round}. Restore it, or "
            "start again in another directory."
        )
    rounds.append(last)
    return Progress(last.round, dict(sorted(adapter.items())), state), rounds


def _whole(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    return {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")

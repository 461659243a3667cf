"""Round checkpoints: save and resume a federation after every round.

Each holds the adapter, the state of the strategy and the round's record with the digests of
all three and of the records before it; they are compared when it is loaded. Random streams
are named by round, so none has to be saved.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fedsafe.errors import RunError
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.runs.checksums import read_sealed, write_sealed
from fedsafe.runs.files import digest, file_digest, whole_directory
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Round
from fedsafe.runs.store import FederationStore

ADAPTER, STATE, RECORD = "adapter.safetensors", "state.safetensors", "record.json"
_HALF = re.compile(r"\.(round-\d+|adapter|[a-z]+\.jsonl?)\.\d+|\.spool\.f32")


@dataclass(frozen=True)
class Progress:
    """State of a federation after a round, as a checkpoint holds it."""

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
        record = {
            "round": rounds[-1].plain(),
            "adapter": adapters.digest(progress.adapter),
            "state": file_digest(aside / STATE),
            "earlier": digest(*(record.model_dump_json() for record in rounds[:-1])),
        }
        write_sealed(aside / RECORD, record)
    store.write_rounds(rounds)
    for old in store.checkpoints()[:-keep]:
        shutil.rmtree(store.checkpoint(old), ignore_errors=True)


def tidy(store: FederationStore) -> None:
    """Remove temporary files that a killed process left behind."""
    for path in store.directory.glob(".*"):
        if _HALF.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def latest(store: FederationStore) -> tuple[Progress, list[Round]] | None:
    """Return the newest complete round and the records up to it, or None before the first.

    Raises:
        RunError: A checkpoint or a record is there but cannot be read, or is not what was
            written.
    """
    numbers = store.checkpoints()
    if not numbers:
        return None
    number = numbers[-1]
    directory = store.checkpoint(number)
    progress, last, earlier = _loaded(directory, number)
    rounds = [record for record in store.rounds() if record.round < number]
    path = store.directory / RunFile.ROUNDS
    if [record.round for record in rounds] != list(range(1, number)):
        raise RunError(
            f"{path} lacks rounds before {number}. Restore it, or start again in another directory."
        )
    if digest(*store.round_lines()[: number - 1]) != earlier:
        raise RunError(
            f"{path} was changed or damaged: its records of rounds 1 to {number - 1} are not those "
            f"that {directory} follows. Restore it, or start again in another directory."
        )
    return progress, [*rounds, last]


def _loaded(directory: Path, number: int) -> tuple[Progress, Round, str]:
    """Return a checkpoint's content, its record, and the digest of the records before it."""
    try:
        adapter = dict(sorted(load_file(directory / ADAPTER).items()))
        state = load_file(directory / STATE)
        record = read_sealed(directory / RECORD)
        last, earlier = Round.model_validate(record["round"]), str(record["earlier"])
        expected = {name: str(record[name]) for name in ("adapter", "state")}
    except KeyError as error:
        raise _unusable(directory, f"{RECORD} has no {error}") from None
    except (OSError, ValueError, SafetensorError, RunError) as error:
        raise _unusable(directory, str(error)) from None
    if (bad := adapters.not_finite(adapter)) is not None:
        raise _unusable(directory, f"{ADAPTER} holds NaN or infinite values in {bad}")
    if last.round != number:
        raise _unusable(directory, f"{RECORD} is that of round {last.round}")
    found = {"adapter": adapters.digest(adapter), "state": file_digest(directory / STATE)}
    for name, file in (("adapter", ADAPTER), ("state", STATE)):
        if found[name] != expected[name]:
            raise _unusable(
                directory,
                f"{file} was changed or damaged after it was written: its sha256 is "
                f"{found[name][:16]}, and {RECORD} says {expected[name][:16]}",
            )
    return Progress(number, adapter, state), last, earlier


def _unusable(directory: Path, reason: str) -> RunError:
    short = " ".join(reason.split()).rstrip(".")
    return RunError(
        f"The checkpoint {directory} cannot be read: {short[:400]}. Remove it to go on from the "
        "round before."
    )


def _whole(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    return {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}

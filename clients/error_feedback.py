"""Error feedback for int8 updates: quantization residuals carried to the next round.

A server that was killed asks for a round again, and must get the same bytes: the last
two rounds are kept, and a round uses what was left before it.
"""

import logging
from pathlib import Path
from typing import Literal, Protocol

from fedsafe.lazy import torch
from fedsafe.messages import Job
from fedsafe.models import adapters
from fedsafe.models.adapters import Tensors
from fedsafe.runs.files import digest, write_bytes

log = logging.getLogger(__name__)
KEPT = 2
"""Rounds that are kept for each client and federation."""


class ErrorFeedback(Protocol):
    """Storage for a client's quantization residuals, by round."""

    def before(self, job: Job) -> "Tensors | None":
        """Return the residual of the latest earlier round, or None."""
        ...

    def keep(self, job: Job, left: Tensors) -> None:
        """Save this round's residual and drop those of later rounds, from before a restart."""
        ...


class ErrorFeedbackInMemory:
    """Error feedback held in memory: for runs in one process."""

    def __init__(self) -> None:
        self._rounds: dict[tuple[str, str, int], dict[int, Tensors]] = {}

    def before(self, job: Job) -> Tensors | None:
        """Return the residual of the latest earlier round, or None."""
        rounds = self._rounds.get(_key(job), {})
        earlier = [number for number in rounds if number < job.round]
        return rounds[max(earlier)] if earlier else None

    def keep(self, job: Job, left: Tensors) -> None:
        """Save this round's residual and drop those of later rounds, from before a restart."""
        self._rounds = {key: kept for key, kept in self._rounds.items() if key[0] == job.run}
        rounds = self._rounds.setdefault(_key(job), {})
        rounds[job.round] = left
        for number in _stale(list(rounds), job.round):
            del rounds[number]


class ErrorFeedbackOnDisk:
    """Error feedback in files: for a client whose process may restart between rounds."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def before(self, job: Job) -> Tensors | None:
        """Return the residual of the latest earlier round, or None."""
        rounds = self._rounds(job)
        earlier = [number for number in rounds if number < job.round]
        if not earlier:
            return None
        from safetensors import SafetensorError, safe_open

        path = rounds[max(earlier)]
        try:
            with safe_open(path, framework="pt") as file:
                left = {name: file.get_tensor(name) for name in sorted(file.keys())}
                stored = (file.metadata() or {}).get("sha256")
            reason = "" if stored == adapters.digest(left) else "its checksum differs"
        except (SafetensorError, OSError, ValueError) as error:
            left, reason = {}, str(error)
        if reason:
            log.warning("%s cannot be read (%s); this round starts from none.", path, reason)
            return None
        return left

    def keep(self, job: Job, left: Tensors) -> None:
        """Save this round's residual and drop those of later rounds, from before a restart.

        Raises:
            RunError: The disk is full.
        """
        from safetensors.torch import save

        path = self._home(job) / f"{_prefix(job)}{job.round:08d}.safetensors"
        tensors = {name: torch.as_tensor(tensor) for name, tensor in left.items()}
        write_bytes(path, save(tensors, metadata={"sha256": adapters.digest(tensors)}))
        self._tidy(job)

    def _tidy(self, job: Job) -> None:
        """Delete residuals that no further round of this run will use."""
        rounds = self._rounds(job)
        for number in _stale(list(rounds), job.round):
            rounds[number].unlink()
        run = _prefix(job).partition("-")[0]
        for path in (self._state / "residuals").glob("*/*.safetensors"):
            if not path.name.startswith(f"{run}-"):
                path.unlink()

    def _home(self, job: Job) -> Path:
        return self._state / "residuals" / str(job.client)

    def _rounds(self, job: Job) -> dict[int, Path]:
        prefix = _prefix(job)
        files = self._home(job).glob(f"{prefix}*.safetensors")
        return {int(path.stem.removeprefix(prefix)): path for path in files}


IN_MEMORY = {name: ErrorFeedbackInMemory() for name in ("", "algorithm", "attack")}
"""Storage of clients that have no directory for it, by owner."""


def storage(state: Path | None, owner: Literal["", "algorithm", "attack"] = "") -> ErrorFeedback:
    """Return the storage of what a client remembers between rounds.

    Args:
        state: The client's directory; None: it is kept in memory.
        owner: Whose: the wire's rounding errors (empty), the local algorithm's or update attack's.
    """
    return IN_MEMORY[owner] if state is None else ErrorFeedbackOnDisk(state / owner)


def _key(job: Job) -> tuple[str, str, int]:
    return job.run, job.federation, job.client


def _prefix(job: Job) -> str:
    return f"{digest(job.run)[:12]}-{job.federation}-"


def _stale(rounds: list[int], newest: int) -> list[int]:
    """Return rounds that came after a restart's, and all but the last few of the others."""
    upto = sorted(number for number in rounds if number <= newest)
    return [*upto[:-KEPT], *(number for number in rounds if number > newest)]

"""Checkpoints of one defense: adapter, random stream, counts and state in its directory.

They are removed when the defense is done. What it wrote so far is text and the adapter under
repair; no other adapter is kept in them.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsafe.contracts import Adapter
from fedsafe.errors import RunError
from fedsafe.evaluation.overlap import OverlapCounter
from fedsafe.models import adapters
from fedsafe.runs.checksums import read_sealed, write_sealed
from fedsafe.runs.files import whole_directory
from fedsafe.training.context import SessionContext

HOME, STATE = "checkpoint", "state.json"


@dataclass
class DefenseCheckpoints:
    """What a defense of several rounds has done so far (the `Checkpoints` contract).

    Attributes:
        directory: Of the defense.
        key: Of the defense; checkpoints of another are passed over.
        context: Its model, whose adapter, random stream and counts are kept.
        overlap: Counts of its data, kept too.
    """

    directory: Path
    key: str
    context: SessionContext
    overlap: OverlapCounter
    written: list[str] = field(default_factory=list)
    """Names of the second adapters that the defense left."""

    def load(self) -> dict[str, Any] | None:
        """Put back the adapter, the random stream and the counts of the last save."""
        home = self.directory / HOME
        if not (home / STATE).is_file():
            return None
        kept = read_sealed(home / STATE)
        if kept["key"] != self.key:
            return None
        tensors = adapters.load(home / "adapter")
        if adapters.digest(tensors) != kept["adapter"]:
            raise RunError(f"{home} holds another adapter than {STATE} tells of. Remove it.")
        self.context.put(tensors)
        version, numbers, gauss = kept["random"]
        self.context.rng.setstate((version, tuple(numbers), gauss))
        self.context.counted.update(kept["counted"])
        self.overlap.removed.update(kept["removed"])
        state: dict[str, Any] = kept["state"]
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the model's adapter as it is now, with a state of JSON values."""
        tensors = self.context.adapter()
        record = {
            "key": self.key,
            "adapter": adapters.digest(tensors),
            "random": self.context.rng.getstate(),
            "counted": dict(self.context.counted),
            "removed": dict(self.overlap.removed),
            "state": dict(state),
        }
        with whole_directory(self.directory / HOME) as aside:
            adapters.save(aside / "adapter", tensors, self.context.session.loaded.model)
            write_sealed(aside / STATE, record)

    def write_adapter(self, name: str, tensors: Adapter) -> None:
        """Leave a second adapter in the run, in PEFT's format."""
        adapters.save(self.directory / name, dict(tensors), self.context.session.loaded.model)
        self.written.append(name)

    def remove(self) -> None:
        """Remove what `save` kept."""
        shutil.rmtree(self.directory / HOME, ignore_errors=True)

"""The record of a search for an attack's worst setting: search.json in a matrix directory.

Knows nothing of how any of it came about.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from fedsafe.runs.checksums import read_sealed
from fedsafe.runs.scores import Display, Record

FILE = "search.json"


class Tried(Record):
    """One setting, measured with some seeds."""

    trial: str
    """Its values in a few words."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What it changes, by dotted path; empty: the file's own setting."""
    value: float | None = None
    """Of the last model, mean over seeds; None: no run came so far."""
    low: float | None = None
    """Ends of the 95 % interval: the wider of Student's t over seeds and of the prompts' own."""
    high: float | None = None
    seeds: dict[str, float] = Field(default_factory=dict)
    """The value with each seed."""
    losses: dict[str, float] = Field(default_factory=dict)
    """By measure what the attacked model has lost, as a share of the clean control's value."""
    last_losses: dict[str, float] = Field(default_factory=dict)
    """The same of the last model, after the defense."""
    allowed: bool = False
    """Whether the attacked model keeps what it is to keep."""
    failed: int = 0
    """Runs that failed: a defense's count with the model that it was given."""


class Worst(Record):
    """What was found with one combination of the axes' values."""

    labels: dict[str, str]
    """By axis."""
    tried: list[Tried]
    """In order, the file's own setting first."""
    worst: Tried | None = None
    """The one with the lowest (highest) value of those allowed; None: none is allowed."""
    fresh: Tried | None = None
    """The same setting with seeds that it was not chosen by."""
    runs: int = 0
    """Runs spent, those with fresh seeds included."""

    @property
    def written(self) -> Tried:
        """The file's own setting."""
        return self.tried[0]


class SearchRecord(Record):
    """search.json."""

    version: int = 1
    name: str
    status: Literal["running", "completed"] = "running"
    measure: str
    direction: Literal["lowest", "highest"]
    display: Display | None = None
    keep: dict[str, float]
    """By measure the loss that is allowed, as a share."""
    budget: int
    """Runs of each combination, at most."""
    seeds: list[int]
    fresh_seeds: list[int]
    space: dict[str, str]
    """By setting what is tried, in words."""
    results: list[Worst]


def read_search(directory: Path) -> SearchRecord | None:
    """Return the search of a matrix directory; None: it has none.

    Raises:
        RunError: The record was changed.
    """
    path = directory / FILE
    return SearchRecord.model_validate(read_sealed(path)) if path.is_file() else None

"""What an experiment tracker is given: a run, its rounds and its stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from fedsafe.integrations.figures import Setting

PROJECT: Final = "fedsafe"


@dataclass(frozen=True)
class TrackedRun:
    """Which run is tracked.

    Attributes:
        name: What it is called in the tracker: the name of its directory.
        identity: The run and no other, the same after a restart; takes its place in the tracker.
        settings: Its experiment's settings by dotted path, without secrets.
    """

    name: str
    identity: str
    settings: Mapping[str, Setting]


class Tracker(Protocol):
    """One run in one tracker."""

    def log_round(self, federation: str, number: int, figures: Mapping[str, float]) -> None:
        """Log the numbers of a round of the federation ``main`` or ``control``."""

    def log_stage(self, name: str, figures: Mapping[str, float]) -> None:
        """Log the numbers of a stage, in place of those it had before."""

    def close(self, status: str) -> None:
        """Write what is left; status is that of the run's summary."""

"""Bounds on what a run measured, as the gates of the micro world and of a real model state them."""

from collections.abc import Mapping
from dataclasses import dataclass

Scores = Mapping[str, Mapping[str, float]]
"""Stage to measure to its value in per cent."""


@dataclass(frozen=True)
class Gate:
    """A bound, in percentage points, on a measure of a stage, or on its difference to another."""

    stage: str
    measure: str
    low: float = -100.0
    high: float = 100.0
    less: str = ""
    """Stage whose value is taken off."""

    def value(self, scores: Scores) -> float:
        """Return what the bound is on."""
        found = scores[self.stage][self.measure]
        return found - scores[self.less][self.measure] if self.less else found

    def holds(self, scores: Scores) -> bool:
        """Return whether the value is within the bound."""
        return self.low <= self.value(scores) <= self.high

    def __str__(self) -> str:
        """Return the bound as it is read: ``aligned refusal >= 90``."""
        what = f"{self.stage} {self.measure}" + (f" less {self.less}'s" if self.less else "")
        bounds = [f">= {self.low:g}"] if self.low > -100 else []
        bounds += [f"<= {self.high:g}"] if self.high < 100 else []
        return f"{what} {' and '.join(bounds)}"

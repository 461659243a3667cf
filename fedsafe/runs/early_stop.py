"""Record of a federation that a safety alarm stopped before its last round.

Knows nothing of how the alarm is found.
"""

from typing import Literal

from fedsafe.runs.scores import Record


class EarlyStop(Record):
    """After which round a federation was stopped, and why."""

    round: int
    """The last round that ran; its model is the federation's."""
    rounds: int
    """Rounds that the experiment asked for."""
    measure: str
    """What was watched."""
    values: list[float]
    """What the last small evaluations found, the round's own at the end."""
    direction: Literal["below", "above"]
    limit: float

    @property
    def said(self) -> str:
        """Where the federation stopped and why: a sentence that lacks its subject."""
        values = ", ".join(f"{100 * value:.1f} %" for value in self.values)
        if len(self.values) > 1:
            values += f" in {len(self.values)} small evaluations in a row"
        return (
            f"stopped early after round {self.round} of {self.rounds}: {self.measure} was "
            f"{values}, {self.direction} the limit of {100 * self.limit:.1f} % "
            "(federation.early_stopping)."
        )

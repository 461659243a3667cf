"""Acceptance cards: what was measured of a defense, cell by cell, against stated thresholds.

The cards of our own defenses lie in the package, in ``fedsafe/defenses/acceptance``.
"""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from fedsafe.errors import RunError
from fedsafe.runs.scores import Record

Group = Literal["reliability", "fresh generalisation", "second attack", "transfer", "price"]
VERDICTS: Final = {True: "pass", False: "FAIL", None: "not measured"}


class Cell(Record):
    """One question of a card, and what was found."""

    group: Group
    name: str
    """What was measured, in a few words."""
    value: float | None = None
    """A share, or a difference of shares; None: not measured."""
    low: float | None = None
    """Lower end of its 95 % interval."""
    high: float | None = None
    n: int = 0
    """Replies that it rests on; of a difference, pairs."""
    threshold: float
    """Largest value that passes."""
    reason: str = ""
    """Why it was not measured, or what happened besides."""

    @property
    def passed(self) -> bool | None:
        """Whether the value is within the threshold; None where there is none."""
        return None if self.value is None else self.value <= self.threshold + 1e-12

    @property
    def verdict(self) -> str:
        """pass, FAIL or not measured."""
        return VERDICTS[self.passed]


class AcceptanceCard(Record):
    """What was measured of one defense, when, and with what."""

    defense: str
    settings: dict[str, Any] = Field(default_factory=dict)
    """All of them; secret ones left out."""
    experiment: str
    """Name of the experiment that it was measured with."""
    model: str
    judge: str
    seeds: list[int]
    held_out: list[str] = Field(default_factory=list)
    """Beginnings of words that none of its data had."""
    made: str
    """Date, UTC, ISO 8601."""
    fedsafe: str
    """Version that measured it."""
    seconds: float | None = None
    """To repair the model, mean over seeds."""
    cells: list[Cell]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Cells that passed, failed, and were not measured."""
        found = [cell.passed for cell in self.cells]
        return found.count(True), found.count(False), found.count(None)

    @property
    def said(self) -> str:
        """The card in one sentence, its failures named."""
        passed, failed, missing = self.counts
        where = ", ".join(f"{c.group}: {c.name}" for c in self.cells if c.passed is False)
        seeds = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
        return (
            f"{passed} of {passed + failed} cells pass"
            f"{f' (fails {where})' if where else ''}; {missing} not measured. "
            f"{self.experiment}, {seeds}, fedsafe {self.fedsafe}, {self.made}."
        )


def shipped(defense: str) -> AcceptanceCard | None:
    """Return the card in the package of a defense; None: it was not measured."""
    return all_shipped().get(defense)


@cache
def all_shipped() -> dict[str, AcceptanceCard]:
    """Return each card in the package by the name of its file."""
    return cards_in(Path(str(files("fedsafe"))) / "defenses" / "acceptance")


def cards_in(home: Path) -> dict[str, AcceptanceCard]:
    """Return each card in a directory by the name of its file.

    Raises:
        RunError: One cannot be read.
    """
    return {path.stem: read(path) for path in sorted(home.glob("*.json"))}


def read(path: Path) -> AcceptanceCard:
    """Return a card from its file.

    Raises:
        RunError: It cannot be read.
    """
    try:
        return AcceptanceCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())[:160]
        raise RunError(f"{path} is no acceptance card: {reason}.") from None

"""The trade of a defense's settings: safety and helpfulness against steps, pairs, or any number.

Found among the defended stages: those of one defense that differ in numbers. Knows nothing of
HTML or terminals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fedsafe.report.defenses import Defense
from fedsafe.report.measures import NEW_SKILL, OLD_SKILL, OVER_REFUSAL, UNSAFE, Measure, short
from fedsafe.runs.records import Rate, Stage
from fedsafe.runs.scores import SHIELDED

FIRST: Final = ("steps", "pairs")
"""Settings that stand on the horizontal axis before any other."""
FEWEST: Final = 3
"""Stages of one defense that make a curve."""
UTILITY: Final = Measure("utility")
SHOWN: Final = (
    UNSAFE,
    Measure(f"unsafe@{SHIELDED}"),
    Measure("unsafe@wrong-secret"),
    NEW_SKILL,
    OLD_SKILL,
    UTILITY,
    OVER_REFUSAL,
    Measure(f"new-skill@{SHIELDED}"),
    Measure(f"over-refusal@{SHIELDED}"),
)
"""Measures of a trade, those that any stage has; utility where no skill is told apart."""
LONGEST: Final = 16
"""Letters of a text that is shown; a setting with a longer one has no column."""


@dataclass(frozen=True)
class Try:
    """One repair of the same model.

    Attributes:
        x: Value of the setting on the horizontal axis.
        others: The other settings in which the stages differ, as text.
        found: What was measured.
    """

    x: float
    others: tuple[str, ...]
    found: Mapping[Measure, Rate]


@dataclass(frozen=True)
class Trade:
    """Repairs of one model by one defense that differ in numbers.

    Attributes:
        name: Of the defense.
        axis: Setting on the horizontal axis.
        others: Names of the other settings that differ.
        measures: What was measured of any of them.
        tries: In the order of the other settings, then of the axis.
    """

    name: str
    axis: str
    others: tuple[str, ...]
    measures: tuple[Measure, ...]
    tries: tuple[Try, ...]

    def lines(self) -> dict[str, list[Try]]:
        """Return the tries of each line of a curve, by what it is called."""
        lines: dict[str, list[Try]] = {}
        for one in self.tries:
            told = ", ".join(f"{n} {v}" for n, v in zip(self.others, one.others, strict=True))
            lines.setdefault(told or self.name, []).append(one)
        return lines


def trades(stages: Sequence[Stage], defenses: Mapping[str, Defense]) -> list[Trade]:
    """Return the trade of each defense that was tried several times on the same model."""
    groups: dict[tuple[str, str], list[Stage]] = {}
    for stage in stages:
        if stage.status == "done" and (own := defenses.get(stage.name)) is not None:
            groups.setdefault((own.name, stage.after), []).append(stage)
    found = (_trade(name, group, defenses) for (name, _), group in groups.items())
    return [trade for trade in found if trade is not None]


def _trade(name: str, stages: Sequence[Stage], defenses: Mapping[str, Defense]) -> Trade | None:
    settings = [defenses[stage.name].settings for stage in stages]
    differing = [
        key for key in settings[0] if any(one.get(key) != settings[0][key] for one in settings)
    ]
    numbers = [key for key in differing if all(_number(one.get(key)) for one in settings)]
    axis = next((key for key in (*FIRST, *numbers) if key in numbers), None)
    if axis is None or len({one[axis] for one in settings}) < 2 or len(stages) < FEWEST:
        return None
    short_ones = [key for key in differing if all(_short(one.get(key)) for one in settings)]
    others = tuple(key for key in short_ones if key != axis)
    known = [m for m in SHOWN if any(m.read(stage.scores) for stage in stages)]
    skills = {NEW_SKILL, OLD_SKILL} & set(known)
    measures = tuple(m for m in known if m != UTILITY or not skills)
    tries = [
        Try(
            float(one[axis]),
            tuple(str(one.get(key)) for key in others),
            {m: rate for m in measures if (rate := m.read(stage.scores)) is not None},
        )
        for stage, one in zip(stages, settings, strict=True)
    ]
    places = [[_order(one.get(key)) for key in others] for one in settings]
    order = sorted(range(len(tries)), key=lambda index: (places[index], tries[index].x))
    return Trade(short(name), axis, others, measures, tuple(tries[index] for index in order))


def _order(value: Any) -> tuple[float, str]:
    return (float(value), "") if _number(value) else (float("inf"), str(value))


def _short(value: Any) -> bool:
    """Tell whether a setting has room in a column: no list, no source, no long text."""
    return value is None or (isinstance(value, str | int | float) and len(str(value)) <= LONGEST)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

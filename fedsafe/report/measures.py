"""The measures of a stage as every view shows them: label, direction, value, interval.

What the records hold is shown, whoever measured it. Knows nothing of pages or terminals.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import hypot
from typing import Final

from fedsafe.runs.scores import (
    PLAIN,
    Display,
    Rate,
    Scores,
    all_displays,
    condition_name,
    display_of,
    parts_of,
)

NONE = "–"  # noqa: RUF001
"""Stands where nothing is known."""
REACH: Final = 0.01
"""By how much a clustered share's interval reaches further than the other, to be shown."""
BUILTIN: Final[dict[str, Display]] = {
    name: Display(label=label, meaning=meaning, better=better, group=group)
    for name, label, meaning, better, group in (
        ("refusal", "Refusal", "harmful prompts refused", "higher", "safety"),
        ("unsafe", "Unsafe", "harmful prompts complied with", "lower", "safety"),
        (
            *("worst-topic", "Unsafe, worst topic", "the harmful topic complied with most"),
            *("lower", "safety"),
        ),
        (
            *("new-skill", "New skill", "right answers to what benign clients taught"),
            *("higher", "usefulness"),
        ),
        (
            *("old-skill", "Old skill", "right answers to what the base could do"),
            *("higher", "usefulness"),
        ),
        (
            *("over-refusal", "Over-refusal", "harmless look-alikes refused"),
            *("lower", "usefulness"),
        ),
        ("garbage", "Garbage", "replies that neither answer nor refuse", "lower", "usefulness"),
    )
}
"""Displays of our own measures, for records that have none: probes, and earlier versions."""


@dataclass(frozen=True)
class Measure:
    """One measure under one condition, as the records have it."""

    key: str
    """``measure`` or ``measure@condition``."""
    shown: Display | None = field(default=None, compare=False)

    @property
    def display(self) -> Display:
        """How it is shown: as its records say, else as our own, else by its name."""
        name = parts_of(self.key)[0]
        return self.shown or BUILTIN.get(name) or Display(label=_heading(name))

    @property
    def condition(self) -> str:
        """Condition under which it was asked; empty when plain."""
        condition = parts_of(self.key)[1]
        return "" if condition == PLAIN else condition

    @property
    def label(self) -> str:
        """Heading, with the condition."""
        return f"{self.display.label}, {self._asked}" if self.condition else self.display.label

    @property
    def meaning(self) -> str:
        """What is counted, in a few words."""
        said = self.display.meaning
        return f"{said}, asked as '{self._asked}'" if self.condition and said else said

    @property
    def better(self) -> str:
        """``higher``, ``lower``, or empty where neither is."""
        return self.display.better

    @property
    def arrow(self) -> str:
        """An arrow in the direction that is better, if one is."""
        return {"higher": " ↑", "lower": " ↓"}.get(self.better, "")

    @property
    def is_share(self) -> bool:
        """Whether its values are shares, shown in percent."""
        return self.display.unit == "share"

    def read(self, scores: Scores) -> Rate | None:
        """Return what an evaluation found of it."""
        return scores.measures.get(self.key)

    def say(self, value: float | None) -> str:
        """Return a value in its unit."""
        if value is None:
            return NONE
        return percent(value) if self._percent(value) else f"{value:.4g}"

    def interval(self, rate: Rate) -> str:
        """Return the 95 % interval in its unit, or nothing where there is none."""
        if rate.low is None or rate.high is None:
            return ""
        if self._percent(rate.value):
            return interval(rate)
        return f"{rate.low:.4g}–{rate.high:.4g}"  # noqa: RUF001

    def clustered(self, rate: Rate) -> str:
        """Return the interval that resamples clusters, where it reaches further.

        That is by a point or more at an end, or, of numbers that are no shares, by a tenth of the
        other interval's width.
        """
        bounds = (rate.low, rate.high, rate.cluster_low, rate.cluster_high)
        if any(bound is None for bound in bounds):
            return ""
        low, high, least, most = (bound or 0.0 for bound in bounds)
        slack = REACH if self.is_share else (high - low) / 10
        if max(low - least, most - high) < slack:
            return ""
        return self.interval(Rate(value=rate.value, n=rate.n, low=least, high=most))

    def goodness(self, value: float | None) -> float | None:
        """Return a share of the good, 1 being best; None where there is no better or worse."""
        if value is None or not self.better or not self._percent(value):
            return None
        return value if self.better == "higher" else 1 - value

    @property
    def _asked(self) -> str:
        """How the condition is called."""
        return self.display.condition or short(self.condition)

    def _percent(self, value: float | None) -> bool:
        return self.is_share and (value is None or 0 <= value <= 1)


REFUSAL = Measure("refusal")
UNSAFE = Measure("unsafe")
OLD_SKILL = Measure("old-skill")
NEW_SKILL = Measure("new-skill")
OVER_REFUSAL = Measure("over-refusal")


def found(evaluations: Iterable[Scores]) -> list[Measure]:
    """Return every measure that any of some evaluations has, in their order, plain ones first."""
    known = list(evaluations)
    displays = all_displays(known)
    keys = dict.fromkeys(key for scores in known for key in scores.measures)
    made = [Measure(key, display_of(key, displays)) for key in keys]
    conditions = list(dict.fromkeys(measure.condition for measure in made))
    return sorted(
        made, key=lambda measure: (measure.condition != "", conditions.index(measure.condition))
    )


def under(scores: Scores, name: str) -> list[tuple[str, Rate]]:
    """Return (condition, rate) of a measure under every condition but plain."""
    pairs = ((parts_of(key), rate) for key, rate in scores.measures.items())
    return [
        (condition, rate)
        for (measure, condition), rate in pairs
        if measure == name and condition != PLAIN
    ]


def difference(one: Rate, other: Rate) -> tuple[float, float, float] | None:
    """Return one share less another, with its 95 % interval (Newcombe 1998, method 10)."""
    bounds = (one.value, one.low, one.high, other.value, other.low, other.high)
    if any(bound is None for bound in bounds):
        return None
    a, a_low, a_high, b, b_low, b_high = (bound or 0.0 for bound in bounds)
    moved = a - b
    below, above = hypot(a - a_low, b_high - b), hypot(a_high - a, b - b_low)
    return moved, max(moved - below, -1.0), min(moved + above, 1.0)


def short(name: str) -> str:
    """Return a plug-in's name for a reader: the object alone of ``module:object``."""
    path, _, rest = name.partition(":")
    return rest.replace("_", " ") if "." in path and rest else name


def called(condition: str, scores: Scores) -> str:
    """Return how a condition is called in a reader's table, as an evaluation's records say."""
    return short(condition_name(condition, scores.displays))


def part_named(rate: Rate) -> str:
    """Return the group that a rate is of, where a measure is of one of its parts: the worst."""
    first = next(iter(rate.parts), "")
    if not first or (rate.parts[first].value, rate.parts[first].n) != (rate.value, rate.n):
        return ""
    return first


def _heading(name: str) -> str:
    words = short(name).replace("-", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


def percent(value: float | None) -> str:
    """Return a share as a percentage with one decimal, or a dash."""
    return NONE if value is None else f"{100 * value:.1f} %"


def interval(rate: Rate) -> str:
    """Return the 95 % interval of a share, or nothing where there is none."""
    if rate.low is None or rate.high is None:
        return ""
    return f"{100 * rate.low:.1f}–{100 * rate.high:.1f}"  # noqa: RUF001


def points(difference: float) -> str:
    """Return a difference of shares in points, with its sign."""
    value = round(100 * difference, 1) + 0.0
    return f"{value:+.1f}".replace("-", "−") + (" point" if abs(value) == 1 else " points")  # noqa: RUF001


def duration(seconds: float | None) -> str:
    """Return a time the way a person says it."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def size(count: float) -> str:
    """Return a number of bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"

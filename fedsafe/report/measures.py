"""The measures of a stage, in the order and the words that every view uses.

Knows nothing of pages or terminals.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fedsafe.runs.records import Rate, Scores

NONE = "–"  # noqa: RUF001
"""Stands where nothing is known."""


@dataclass(frozen=True)
class Measure:
    """One share that an evaluation reports."""

    key: str
    label: str
    meaning: str
    better: Literal["higher", "lower"]
    group: Literal["Safety", "Usefulness"]
    read: Callable[[Scores], Rate | None]


REFUSAL = Measure(
    "refusal", "Refusal", "harmful prompts refused", "higher", "Safety", lambda s: s.refusal
)
OLD_SKILL = Measure(
    "old",
    "Old skill",
    "right answers to what the base could do",
    "higher",
    "Usefulness",
    lambda s: s.skills.old,
)
NEW_SKILL = Measure(
    "new",
    "New skill",
    "right answers to what benign clients taught",
    "higher",
    "Usefulness",
    lambda s: s.skills.new,
)
OVER_REFUSAL = Measure(
    "over_refusal",
    "Over-refusal",
    "harmless look-alikes refused",
    "lower",
    "Usefulness",
    lambda s: s.over_refusal,
)
GARBAGE = Measure(
    "garbage",
    "Garbage",
    "replies that neither answer nor refuse",
    "lower",
    "Usefulness",
    lambda s: s.garbage,
)
MEASURES = (
    REFUSAL,
    Measure(
        "unsafe", "Unsafe", "harmful prompts complied with", "lower", "Safety", lambda s: s.unsafe
    ),
    Measure(
        "unsafe_prefilled",
        "Unsafe, prefilled",
        "the same, the reply's beginning being forced",
        "lower",
        "Safety",
        lambda s: s.unsafe_prefilled,
    ),
    Measure(
        "worst_topic_unsafe",
        "Unsafe, worst topic",
        "the harmful topic complied with most",
        "lower",
        "Safety",
        lambda s: s.worst_topic_unsafe,
    ),
    NEW_SKILL,
    OLD_SKILL,
    OVER_REFUSAL,
    GARBAGE,
)


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

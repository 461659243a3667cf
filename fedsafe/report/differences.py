"""Differences between stages that their intervals tell from chance, and the price of a defense.

Knows nothing of how they are displayed.
"""

from collections.abc import Iterator

from fedsafe.report import measures
from fedsafe.report.measures import NEW_SKILL, OLD_SKILL, Measure, difference
from fedsafe.runs.records import Rate, Stage
from fedsafe.runs.scores import SHIELDED

PRICE = 0.05
"""Where there are no intervals, a smaller difference of shares is not spoken of as one."""


def compared(now: Rate | None, then: Rate | None) -> tuple[float, str, bool]:
    """Return a difference, its size in points with its interval, and whether it is one.

    One whose interval holds 0 is none, nor a small one without an interval.
    """
    if now is None or then is None:
        return 0.0, "", False
    moved = value_of(now) - value_of(then)
    bounds = difference(now, then)
    if bounds is None:
        return moved, f"{abs(100 * moved):.1f} points", abs(moved) >= PRICE
    _, low, high = bounds
    least, most = sorted((abs(100 * low), abs(100 * high)))
    amount = f"{abs(100 * moved):.1f} points [{least:.1f}–{most:.1f}]"  # noqa: RUF001
    return moved, amount, not low <= 0 <= high


def prices(before: Stage | None, after: Stage) -> Iterator[str]:
    """Yield what a defense made worse as it is served, of all that says how useful the model is.

    Everything is named that the intervals tell from chance, however small.
    """
    if before is None:
        return
    named: set[str] = set()
    listed = [
        measure
        for measure in measures.found([before.scores, after.scores])
        if not measure.condition and measure.display.group == "usefulness"
    ]
    for measure in sorted(listed, key=lambda measure: measure.key == "utility"):
        if measure.key == "utility" and named & {NEW_SKILL.key, OLD_SKILL.key}:
            continue  # its parts say it already
        old = measure.read(before.scores)
        new = after.scores.rate(measure.key, SHIELDED) or measure.read(after.scores)
        if old is not None and new is not None and _worse(measure, old, new):
            named.add(measure.key)
            label = measure.label[:1].lower() + measure.label[1:]
            yield f"{label} {measure.say(old.value)} → {measure.say(new.value)}"


def _worse(measure: Measure, old: Rate, new: Rate) -> bool:
    """Tell whether a measure got worse by more than chance, as its intervals say."""
    if old.value is None or new.value is None or not measure.better:
        return False
    moved, _, certain = compared(new, old)
    if not certain or (difference(new, old) is None and not measure.is_share):
        return False
    return moved < 0 if measure.better == "higher" else moved > 0


def value_of(rate: Rate | None) -> float:
    """Return the value of a rate; 0 where it has none."""
    return 0.0 if rate is None or rate.value is None else rate.value

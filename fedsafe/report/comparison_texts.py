"""Texts of a comparison of runs that the terminal's tables and the page share.

Knows nothing of how they are laid out.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fedsafe.report.measures import NONE, Measure, short
from fedsafe.runs.comparison_records import (
    ComparedRun,
    Comparison,
    Differing,
    Flip,
    MeasureChange,
    StagePair,
)
from fedsafe.runs.scores import PLAIN, condition_name, display_of

SURE = 0.05
"""Family-wise error: an adjusted p-value below it is called beyond chance."""
EXPLAINED = (
    "Differences are of shares in points, over the prompts that both were asked. The interval is "
    "a bootstrap clustered by prompt group and seed. +/-: prompts gained and lost. McNemar's exact "
    "test (sign flips where values are no yes or no) takes prompts as independent; Holm's "
    "correction is over every test of the comparison."
)
HEADINGS = ("Difference", "95 % interval", "Prompts (groups)", "+/−", "p", "p, Holm")  # noqa: RUF001


def measure_of(comparison: Comparison, key: str) -> Measure:
    """Return a measure as the runs say that it is shown."""
    return Measure(key, display_of(key, comparison.displays))


def who(run: ComparedRun) -> str:
    """Return what a side is, in a few words."""
    seeds = ", ".join(map(str, run.seeds))
    stage = f", stage {run.stage}" if run.stage else ""
    return f"{run.name}, seed{'s' if run.seeds[1:] else ''} {seeds}{stage}"


def title(pair: StagePair) -> str:
    """Return the heading of two compared stages."""
    return f"{pair.first} → {pair.second}"


def counted(pair: StagePair) -> str:
    """Say how many prompts were compared, and how many flipped."""
    if pair.unchanged:
        return f"the same model, with the same outcome on all {pair.common} prompts"
    better = sum(flip.better is True for flip in pair.flips)
    worse = sum(flip.better is False for flip in pair.flips)
    moved = f"{len(pair.flips)} flipped" + (
        f" ({better} for the better, {worse} for the worse)" if pair.flips else ""
    )
    return f"{pair.common} prompts in both, {moved}"


def moved(pair: StagePair) -> tuple[list[MeasureChange], list[MeasureChange]]:
    """Return the measures in which any prompt or value changed, and those in which none did.

    A measure that has a value on neither side is in none of the two.
    """
    changed = [one for one in pair.measures if has_changed(one)]
    known = [one for one in pair.measures if one.before is not None or one.after is not None]
    return changed, [one for one in known if one not in changed]


def has_changed(change: MeasureChange) -> bool:
    """Tell whether a measure has another value, or another answer to any prompt."""
    return change.before != change.after or bool(change.gained or change.lost or change.mean)


def values(measure: Measure, change: MeasureChange) -> tuple[str, str]:
    """Return the values before and after."""
    return measure.say(change.before), measure.say(change.after)


def tested(measure: Measure, change: MeasureChange) -> tuple[str, ...]:
    """Return difference, interval, prompts, gained and lost, p and adjusted p: as `HEADINGS`."""
    if not change.pairs:
        return (_plain(measure, change), NONE, NONE, NONE, NONE, NONE)
    counts = NONE if change.gained is None else f"{change.gained}/{change.lost}"
    return (
        signed(measure, change.mean),
        interval(measure, change),
        f"{change.pairs} ({change.groups})",
        counts,
        p_value(change.p_value),
        p_value(change.p_adjusted),
    )


def _plain(measure: Measure, change: MeasureChange) -> str:
    """Return the difference of a measure that is no mean over prompts."""
    if change.before is None or change.after is None:
        return NONE
    return signed(measure, change.after - change.before)


def signed(measure: Measure, value: float | None) -> str:
    """Return a difference with its sign, of shares in points."""
    if value is None:
        return NONE
    said = f"{round(100 * value, 1) + 0.0:+.1f}" if measure.is_share else f"{value:+.4g}"
    said = "0.0" if said == "+0.0" else said
    return said.replace("-", "−")  # noqa: RUF001


def interval(measure: Measure, change: MeasureChange) -> str:
    """Return the bootstrap interval of a difference; none where no prompt changed."""
    low, high = change.bootstrap_low, change.bootstrap_high
    if low is None or high is None or low == high == 0:
        return NONE
    return f"{signed(measure, low)} to {signed(measure, high)}"


def p_value(value: float | None) -> str:
    """Return a probability with two digits."""
    return NONE if value is None else "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def is_sure(change: MeasureChange) -> bool:
    """Tell whether a difference is beyond chance after Holm's correction."""
    return change.p_adjusted is not None and change.p_adjusted < SURE


def verdict(comparison: Comparison) -> Iterator[str]:
    """Yield a sentence for each two stages that differ beyond chance; else one that none do."""
    found = False
    for pair in comparison.pairs:
        sure = [change for change in pair.measures if is_sure(change)]
        if sure:
            found = True
            yield f"{title(pair)}: {', '.join(_said(comparison, one) for one in sure)}."
    if not found:
        yield (
            f"No measure differs beyond chance: of {comparison.tests} tests none is below "
            f"{SURE:g} after Holm's correction."
            if comparison.tests
            else "There is nothing to test: the same models gave the same answers."
        )


def _said(comparison: Comparison, change: MeasureChange) -> str:
    measure = measure_of(comparison, change.measure)
    before, after = values(measure, change)
    held = interval(measure, change)
    amount = signed(measure, change.mean) + (" points" if measure.is_share else "")
    label = measure.label[:1].lower() + measure.label[1:]
    bounds = f" [{held}]" if held != NONE else ""
    return f"{label} {before} → {after}, {amount}{bounds}"


def setting(value: Any) -> str:
    """Return a setting's value as it is written in YAML flow style."""
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def rows(differing: Sequence[Differing]) -> list[list[str]]:
    """Return rows of path and values."""
    return [[one.path, *(setting(value) for value in one.values)] for one in differing]


def kind(flip: Flip, comparison: Comparison) -> str:
    """Return what a flipped prompt is for, and how it was asked."""
    names = {"harmful": "safety", "over-refusal": "look-alike"}
    said = names.get(flip.purpose, flip.purpose)
    asked = short(condition_name(flip.condition, comparison.displays))
    return said if flip.condition == PLAIN else f"{said}, {asked}"


def direction(flip: Flip) -> str:
    """Return whether a flip is for the better."""
    return {True: "better", False: "worse", None: ""}[flip.better]

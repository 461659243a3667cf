"""Verdict of an experiment with several seeds: what the attack took, what each defense gave back.

Every price is named that the paired intervals tell from chance.
"""

from collections.abc import Iterator

from fedsafe.report.defenses import PREFIX
from fedsafe.report.measures import Measure
from fedsafe.report.seed_texts import compared, measure_of
from fedsafe.runs.scores import PLAIN, parts_of
from fedsafe.runs.seed_records import Difference, SeedSummary

REFUSAL = "refusal"


def sentences(summary: SeedSummary) -> list[str]:
    """Return one sentence a comparison: how refusal moved, and at what price."""
    return [_sentence(summary, before, after) for before, after in compared(summary)]


def bounds(found: Difference) -> tuple[float, float] | None:
    """Return the interval that a difference is judged by: clustered bootstrap, else t."""
    if found.bootstrap_low is not None and found.bootstrap_high is not None:
        return found.bootstrap_low, found.bootstrap_high
    if found.low is not None and found.high is not None:
        return found.low, found.high
    return None


def is_certain(found: Difference) -> bool:
    """Return whether a difference's interval leaves 0 out."""
    held = bounds(found)
    return held is not None and not held[0] <= 0 <= held[1]


def prices(summary: SeedSummary, before: str, after: str) -> Iterator[str]:
    """Yield what got worse between two stages, beyond chance, of what is plainly asked."""
    for found in summary.differences:
        key, condition = parts_of(found.measure)
        display = summary.displays.get(key)
        if (found.before, found.after, condition) != (before, after, PLAIN) or display is None:
            continue
        worse = found.mean > 0 if display.better == "lower" else found.mean < 0
        if display.group == "usefulness" and worse and display.better and is_certain(found):
            measure = Measure(found.measure, display)
            yield f"{measure.label.lower()} {amount(measure, found)}"


def amount(measure: Measure, found: Difference) -> str:
    """Return a difference with its interval."""
    held = bounds(found)
    if not measure.is_share:
        return f"{found.mean:+.4g}" + (f" [{held[0]:+.4g} to {held[1]:+.4g}]" if held else "")
    value = f"{100 * found.mean:+.1f} points"
    return value + (f" [{100 * held[0]:+.1f} to {100 * held[1]:+.1f}]" if held else "")


def _sentence(summary: SeedSummary, before: str, after: str) -> str:
    name = after.removeprefix(PREFIX)
    found = compared(summary)[before, after]
    refusal = next((one for one in found if one.measure == REFUSAL), None)
    if refusal is None:
        text = f"From {before} to {name} no harmful prompt was judged"
    else:
        said = amount(measure_of(summary, REFUSAL), refusal)
        how = "moved by" if is_certain(refusal) else "did not move beyond chance:"
        text = f"From {before} to {name} refusal {how} {said}"
    price = list(prices(summary, before, after))
    return f"{text}, at a price: {', '.join(price)}." if price else f"{text}."

"""Texts of an experiment with several seeds that the terminal's table and the page share.

Knows nothing of how they are laid out.
"""

from collections.abc import Iterator

from fedsafe.report.measures import NONE, Measure
from fedsafe.runs.scores import display_of
from fedsafe.runs.seed_records import Difference, SeedSummary


def measure_of(summary: SeedSummary, key: str) -> Measure:
    """Return a measure as the summary says that it is shown."""
    return Measure(key, display_of(key, summary.displays))


def measures_of(summary: SeedSummary) -> list[Measure]:
    """Return every measure of any stage, in order."""
    keys = dict.fromkeys(key for stage in summary.stages for key in stage.measures)
    return [measure_of(summary, key) for key in keys]


def compared(summary: SeedSummary) -> dict[tuple[str, str], list[Difference]]:
    """Return the differences by the names of the stages before and after, in order."""
    found: dict[tuple[str, str], list[Difference]] = {}
    for one in summary.differences:
        found.setdefault((one.before, one.after), []).append(one)
    return found


def judged_by(summary: SeedSummary) -> str:
    """Return whose verdicts the values are; empty where no judge is known."""
    if len(summary.judges) > 1:
        return f"judged by different judges and not comparable: {', '.join(summary.judges)}"
    return f"judged by {summary.judges[0]}" if summary.judges else ""


def failures(summary: SeedSummary) -> Iterator[str]:
    """Yield where an alarm stopped a federation, and where a defense failed and what counts."""
    for stage in summary.stages:
        if stage.early_stops:
            told = (f"{one.round} with seed {seed}" for seed, one in stage.early_stops.items())
            rounds = next(iter(stage.early_stops.values())).rounds
            yield (
                f"an alarm stopped the {stage.name} federation before its {rounds} rounds were "
                f"over (federation.early_stopping): after round {', '.join(told)}"
            )
        if stage.failed:
            seeds = ", ".join(map(str, stage.failed))
            yield (
                f"{stage.name} failed with seed {seeds}: counted there with the values of the "
                "model that it was to defend"
            )


def deviation(measure: Measure, sd: float) -> str:
    """Return a standard deviation, of shares in points."""
    return f"{100 * sd:.1f}" if measure.is_share else f"{sd:.4g}"


def difference(measure: Measure, found: Difference) -> tuple[str, ...]:
    """Return mean, t and bootstrap interval, pairs gained/lost, the test's p, and Holm's."""
    return (
        _signed(measure, found.mean),
        _ends(measure, found.low, found.high),
        _ends(measure, found.bootstrap_low, found.bootstrap_high),
        NONE if found.gained is None else f"{found.gained}/{found.lost}",
        NONE if found.p_value is None else f"{found.p_value:.2g}",
        NONE if found.p_adjusted is None else f"{found.p_adjusted:.2g}",
    )


def _ends(measure: Measure, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return NONE
    return f"{_signed(measure, low)} to {_signed(measure, high)}"


def _signed(measure: Measure, value: float) -> str:
    return f"{100 * value:+.1f}" if measure.is_share else f"{value:+.4g}"

"""What stands below the table of measures: how far judges agree, what was not asked."""

from fedsafe.report.agreements import agreements
from fedsafe.report.loader import RunData
from fedsafe.report.markup import text
from fedsafe.report.measures import called


def notes(run: RunData) -> str:
    """Return the notes on a run's measures, as paragraphs."""
    return _agreements(run) + _skipped(run)


def _agreements(run: RunData) -> str:
    """Return how far several judges agree; empty where one alone judges."""
    said = (f"{line[:1].upper()}{line[1:]}" for line in agreements(run.stages))
    return "".join(f'<p class="note">{text(line)}.</p>' for line in said)


def _skipped(run: RunData) -> str:
    """Return which conditions were not asked of which stages, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for stage in run.stages:
        for condition, reason in stage.scores.skipped.items():
            named = (called(condition, stage.scores), reason)
            reasons.setdefault(named, []).append(run.titles[stage.name][0])
    return "".join(
        f"<p class=\"note\">Not asked as '{text(condition)}': "
        f"{text(', '.join(names))}: {text(reason)}.</p>"
        for (condition, reason), names in reasons.items()
    )

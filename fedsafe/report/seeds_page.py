"""Report page of an experiment with several seeds, drawn from seeds.json alone."""

from collections.abc import Iterator
from pathlib import Path

from fedsafe.errors import RunError
from fedsafe.report.markup import section, table, text
from fedsafe.report.measures import NONE, Measure
from fedsafe.report.page import document
from fedsafe.report.seed_verdict import sentences
from fedsafe.runs.checksums import read_sealed
from fedsafe.runs.files import write_text
from fedsafe.runs.scores import parts_of
from fedsafe.runs.seed_records import FILE, PAGE, Difference, SeedSummary, Spread

LEAD = (
    "After less before, paired by prompt and seed. The bootstrap is clustered by prompt group (in "
    "the micro world the verb and object asked about) and by seed; McNemar's exact test takes the "
    "pooled pairs as independent, which prompts of one group are not."
)


def is_seeds_directory(directory: Path) -> bool:
    """Return whether a directory holds the aggregate of several seeds' runs."""
    return (directory / FILE).is_file()


def write_seeds(directory: Path) -> Path:
    """Write the page of a directory with seeds.json, and return its path.

    Raises:
        RunError: There is none, or it was changed.
    """
    path = directory / FILE
    if not path.is_file():
        raise RunError(f"{directory} has no {FILE}. Make it with `fedsafe run ... --seeds 0-4`.")
    page = directory / PAGE
    write_text(page, render_seeds(SeedSummary.model_validate(read_sealed(path))))
    return page


def render_seeds(summary: SeedSummary) -> str:
    """Return the page."""
    verdict = "".join(f'<p class="verdict">{text(one)}</p>' for one in sentences(summary))
    seeds = ", ".join(map(str, summary.seeds))
    notes = "".join(f'<p class="note">{text(one)}</p>' for one in _notes(summary))
    head = (
        f'<header><p class="eyebrow">FedSafe</p><h1>{text(summary.name)}, seeds {seeds}</h1>'
        f"{verdict}{notes}</header>"
    )
    lead = f"Mean ± standard deviation over seeds {seeds}, with Student's 95 % interval."
    body = section("stages", "Stages", lead, _spreads(summary))
    compared = dict.fromkeys((one.before, one.after) for one in summary.differences)
    drawn = "".join(_differences(summary, before, after) for before, after in compared)
    body += section("differences", "Paired differences", LEAD, drawn)
    links = '<a href="#stages">Stages</a><a href="#differences">Differences</a>'
    return document(f"{summary.name}: seeds", links, head + body)


def _notes(summary: SeedSummary) -> Iterator[str]:
    yield f"Judged by {', '.join(summary.judges)}. Brackets are 95 % intervals."
    for stage in summary.stages:
        if stage.failed:
            seeds = ", ".join(map(str, stage.failed))
            yield (
                f"{stage.name} failed with seed {seeds}: counted there with the values of the "
                "model that it was to defend."
            )


def _measure(summary: SeedSummary, key: str) -> Measure:
    return Measure(key, summary.displays.get(parts_of(key)[0]))


def _spreads(summary: SeedSummary) -> str:
    rows = []
    for key in dict.fromkeys(key for stage in summary.stages for key in stage.measures):
        measure = _measure(summary, key)
        cells = [_spread(measure, stage.measures.get(key)) for stage in summary.stages]
        rows.append([f"{text(measure.label)}{measure.arrow}", *cells])
    headings = ["Measure", *(text(stage.name) for stage in summary.stages)]
    return table(headings, rows, numbers=range(1, len(headings)))


def _spread(measure: Measure, spread: Spread | None) -> str:
    if spread is None:
        return f'<span class="none">{NONE}</span>'
    if spread.sd is None or spread.low is None or spread.high is None:
        return measure.say(spread.mean)
    sd = f"{100 * spread.sd:.1f}" if measure.is_share else f"{spread.sd:.4g}"
    held = f"{measure.say(spread.low)} to {measure.say(spread.high)}"
    each = ", ".join(f"{seed}: {measure.say(value)}" for seed, value in spread.seeds.items())
    return (
        f'{measure.say(spread.mean)} ± {sd}<span class="meaning" title="{text(each)}">{held}</span>'
    )


def _differences(summary: SeedSummary, before: str, after: str) -> str:
    headings = ["Measure", "Difference", "95 % t", "95 % bootstrap", "Pairs (groups)", "+/-", "p"]
    rows = [
        list(_row(_measure(summary, one.measure), one))
        for one in summary.differences
        if (one.before, one.after) == (before, after)
    ]
    caption = f"{text(before)} → {text(after)}"
    return table(headings, rows, caption=caption, numbers=range(1, len(headings)))


def _row(measure: Measure, found: Difference) -> Iterator[str]:
    yield text(measure.label)
    yield f"{100 * found.mean:+.1f}" if measure.is_share else f"{found.mean:+.4g}"
    yield _bounds(measure, found.low, found.high)
    yield _bounds(measure, found.bootstrap_low, found.bootstrap_high)
    yield NONE if found.pairs is None else f"{found.pairs} ({found.groups})"
    yield NONE if found.gained is None else f"{found.gained}/{found.lost}"
    yield NONE if found.p_value is None else f"{found.p_value:.2g}"


def _bounds(measure: Measure, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return NONE
    if measure.is_share:
        return f"{100 * low:+.1f} to {100 * high:+.1f}"
    return f"{low:+.4g} to {high:+.4g}"

"""Report page of an experiment with several seeds, drawn from seeds.json alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from fedsafe.errors import RunError
from fedsafe.report import seed_texts
from fedsafe.report.markup import section, table, text
from fedsafe.report.measures import NONE, Measure
from fedsafe.report.page import document
from fedsafe.report.seed_verdict import sentences
from fedsafe.runs.checksums import read_sealed
from fedsafe.runs.files import write_text
from fedsafe.runs.seed_records import FILE, PAGE, Difference, SeedSummary, Spread

LEAD = (
    "After less before, paired by prompt and seed. The bootstrap is clustered by prompt group (in "
    "the micro world the verb and object asked about, else near-duplicates) and by seed; p, "
    "by McNemar's exact test or of graded values by sign flips, takes the pooled pairs as "
    "independent, which prompts of one group are not. Holm's correction is over all tests of this "
    "page."
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
    drawn = "".join(
        _differences(summary, f"{before} → {after}", found)
        for (before, after), found in seed_texts.compared(summary).items()
    )
    body += section("differences", "Paired differences", LEAD, drawn)
    links = '<a href="#stages">Stages</a><a href="#differences">Differences</a>'
    return document(f"{summary.name}: seeds", links, head + body)


def _notes(summary: SeedSummary) -> Iterator[str]:
    judged = seed_texts.judged_by(summary)
    said = f"{judged[:1].upper()}{judged[1:]}. " if judged else ""
    yield f"{said}Brackets are 95 % intervals."
    yield from (f"{one}." for one in seed_texts.failures(summary))


def _spreads(summary: SeedSummary) -> str:
    rows = []
    for measure in seed_texts.measures_of(summary):
        cells = [_spread(measure, stage.measures.get(measure.key)) for stage in summary.stages]
        rows.append([f"{text(measure.label)}{measure.arrow}", *cells])
    headings = ["Measure", *(text(stage.name) for stage in summary.stages)]
    return table(headings, rows, numbers=range(1, len(headings)))


def _spread(measure: Measure, spread: Spread | None) -> str:
    if spread is None:
        return f'<span class="none">{NONE}</span>'
    if spread.sd is None or spread.low is None or spread.high is None:
        return measure.say(spread.mean)
    sd = seed_texts.deviation(measure, spread.sd)
    held = f"{measure.say(spread.low)} to {measure.say(spread.high)}"
    each = ", ".join(f"{seed}: {measure.say(value)}" for seed, value in spread.seeds.items())
    return (
        f'{measure.say(spread.mean)} ± {sd}<span class="meaning" title="{text(each)}">{held}</span>'
    )


def _differences(summary: SeedSummary, title: str, differences: Sequence[Difference]) -> str:
    headings = ["Measure", "Difference", "95 % t", "95 % bootstrap", "Pairs (groups)", "+/-"]
    headings += ["p", "p, Holm"]
    rows = []
    for found in differences:
        measure = seed_texts.measure_of(summary, found.measure)
        mean, t, bootstrap, *tested = seed_texts.difference(measure, found)
        pairs = NONE if found.pairs is None else f"{found.pairs} ({found.groups})"
        rows.append([text(measure.label), mean, t, bootstrap, pairs, *tested])
    return table(headings, rows, caption=text(title), numbers=range(1, len(headings)))

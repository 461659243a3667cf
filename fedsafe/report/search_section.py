"""The attacker's worst case: what a search found, as a section of a matrix page and as texts."""

from collections.abc import Iterator, Sequence

from fedsafe.report.markup import details, pairs, section, table, text
from fedsafe.report.measures import NONE, Measure, percent
from fedsafe.runs.search_records import SearchRecord, Tried, Worst


def headings(record: SearchRecord) -> list[str]:
    """Return the headings of the table of combinations."""
    axes = list(record.results[0].labels) if record.results else []
    worst = "Lowest found" if record.direction == "lowest" else "Highest found"
    return [*axes, "As written", worst, "On fresh seeds", "Loss of skill", "Runs", "Setting"]


def row(record: SearchRecord, found: Worst) -> list[str]:
    """Return one combination of the axes' values: as `headings`."""
    measure = measure_of(record)
    skill = [worst_loss(one) for one in (found.worst, found.fresh)]
    return [
        *found.labels.values(),
        value(measure, found.written),
        value(measure, found.worst),
        value(measure, found.fresh),
        f"{percent(skill[0])}, fresh {percent(skill[1])}" if found.fresh else percent(skill[0]),
        str(found.runs),
        found.worst.trial if found.worst else "none keeps its skill",
    ]


def measure_of(record: SearchRecord) -> Measure:
    """Return the measure that was searched by."""
    return Measure(record.measure, record.display)


def value(measure: Measure, tried: Tried | None) -> str:
    """Return a value with its interval, and what failed."""
    if tried is None or tried.value is None:
        return NONE
    lost = f", {tried.failed} failed" if tried.failed else ""
    if tried.low is None or tried.high is None:
        return measure.say(tried.value) + lost
    held = f"{measure.say(tried.low).removesuffix(' %')}–{measure.say(tried.high)}"  # noqa: RUF001
    return f"{measure.say(tried.value)} [{held.removesuffix(' %')}]{lost}"


def worst_loss(tried: Tried | None) -> float | None:
    """Return the largest loss of the attacked model; None: not measured. A gain is no loss."""
    return max(0.0, *tried.losses.values()) if tried is not None and tried.losses else None


def notes(record: SearchRecord) -> Iterator[str]:
    """Yield what a reader of the table must know."""
    measure = measure_of(record)
    label = measure.label[:1].lower() + measure.label[1:]
    kept = " and ".join(f"{percent(loss)} of {name}" for name, loss in record.keep.items())
    bound = f", of those that cost the attacked model at most {kept}" if kept else ""
    yield (
        f"The {record.direction} {label} of the last model that any setting tried led to{bound}, "
        f"against the clean control. Seeds {_listed(record.seeds)}; at most {record.budget} runs "
        "of each row. A defense that failed counts with the model that it was given."
    )
    yield (
        f"The {record.direction} of several values is also their luckiest, so that the search's "
        "own value flatters the attacker: quote the one on fresh seeds "
        f"({_listed(record.fresh_seeds)}), which the setting was not chosen by. A longer search, "
        "or settings that were not searched, may find worse."
    )
    beyond = [found for found in record.results if found.fresh and not found.fresh.allowed]
    for found in beyond:
        where = ", ".join(found.labels.values())
        yield f"{where}: on fresh seeds the setting costs more skill than is allowed."


def search_section(record: SearchRecord | None) -> str:
    """Return the section of a page; empty where nothing was searched."""
    if record is None:
        return ""
    said = list(notes(record))
    heads = headings(record)
    axes = len(heads) - 6
    rows = [
        [_cell(cell) if axes <= at < axes + 4 else text(cell) for at, cell in enumerate(cells)]
        for cells in (row(record, one) for one in record.results)
    ]
    body = table([text(one) for one in heads], rows, numbers=range(axes, len(heads) - 1))
    body += "".join(f'<p class="note">{text(one)}</p>' for one in said[1:])
    body += "<h3>What was tried</h3>"
    body += pairs([(text(name), text(values)) for name, values in record.space.items()])
    body += "".join(_every(record, one) for one in record.results)
    return section("worst-case", "The attacker's worst case", text(said[0]), body)


def _cell(said: str) -> str:
    """Return a value with what stands beside it on a line of its own."""
    value, mark, beside = said.partition(" [") if " [" in said else said.partition(", ")
    if not mark:
        return text(said)
    return f'{text(value)}<span class="meaning">{text(mark.strip(" ,") + beside)}</span>'


def _every(record: SearchRecord, found: Worst) -> str:
    """Return every setting tried with one combination, folded."""
    measure = measure_of(record)
    heads = ["Setting", measure.label, "Allowed", *(f"Loss of {name}" for name in record.keep)]
    heads += [f"Loss of {name}, last model" for name in record.keep]
    rows = [[text(cell) for cell in _tried(record, measure, one)] for one in found.tried]
    drawn = table([text(one) for one in heads], rows, numbers=range(1, len(heads)))
    where = ", ".join(found.labels.values())
    return details(f"{text(where)}: all {len(found.tried)} settings", drawn)


def _tried(record: SearchRecord, measure: Measure, one: Tried) -> Sequence[str]:
    losses = [one.losses.get(name) for name in record.keep]
    losses += [one.last_losses.get(name) for name in record.keep]
    allowed = "yes" if one.allowed else "no"
    return [one.trial, value(measure, one), allowed, *(percent(loss) for loss in losses)]


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))

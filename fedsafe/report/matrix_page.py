"""Page of a matrix: heat maps of its measures, the same as tables, failed cells, the plan."""

from collections.abc import Sequence
from pathlib import Path

from fedsafe.report import matrix_heatmap
from fedsafe.report.markup import details, figure, pairs, section, table, text
from fedsafe.report.measures import NONE, Measure, duration
from fedsafe.report.page import document
from fedsafe.report.search_section import search_section
from fedsafe.runs.files import write_text
from fedsafe.runs.matrix_records import FILE, PAGE, MatrixRecord, MatrixTable, TableCell
from fedsafe.runs.search_records import SearchRecord


def is_matrix_directory(directory: Path) -> bool:
    """Return whether a directory holds a matrix."""
    return (directory / FILE).is_file()


def write_matrix(
    directory: Path,
    record: MatrixRecord,
    tables: Sequence[MatrixTable],
    search: SearchRecord | None = None,
) -> Path:
    """Write the page of a matrix, and return its path."""
    page = directory / PAGE
    write_text(page, render_matrix(record, tables, search))
    return page


def render_matrix(
    record: MatrixRecord, tables: Sequence[MatrixTable], search: SearchRecord | None = None
) -> str:
    """Return the page.

    Args:
        record: The matrix.
        tables: Measures to be shown, all with the same rows and columns.
        search: What was searched in it; None: nothing.
    """
    done = sum(cell.status == "done" for cell in record.cells)
    failed = [cell for cell in record.cells if cell.status == "failed"]
    said = f"{done} of {len(record.cells)} cells are done"
    said += f", {len(failed)} failed." if failed else "."
    said += " ".join(["", *(_between(one) for one in tables[:1])]).rstrip()
    head = (
        f'<header><p class="eyebrow">FedSafe<span class="pill {record.status}">'
        f"{record.status}</span></p><h1>{text(record.name)}</h1>"
        f'<p class="verdict">{text(said)}</p></header>'
    )
    found = search_section(search)
    body = found + "".join(_measure(number, one) for number, one in enumerate(tables))
    links = '<a href="#worst-case">Worst case</a>' if found else ""
    links += "".join(
        f'<a href="#m{number}">{text(_named(one).label)}</a>' for number, one in enumerate(tables)
    )
    if failed:
        rows = [[text(_labels(cell.labels)), text(cell.reason)] for cell in failed]
        body += section("failed", "Failed cells", "", table(["Cell", "Why"], rows))
        links += '<a href="#failed">Failed cells</a>'
    body += section("plan", "Plan", "", _plan(record))
    return document(f"{record.name}: matrix", f'{links}<a href="#plan">Plan</a>', head + body)


def _between(one: MatrixTable) -> str:
    """Say between which values the cells of a table lie, and where the worst one is."""
    measure = _named(one)
    found = [
        (cell.mean, f"{' · '.join(row)}, {' · '.join(column)}".strip(", "))
        for row, cells in zip(one.row_labels, one.cells, strict=True)
        for column, cell in zip(one.column_labels, cells, strict=True)
        if cell.mean is not None
    ]
    if len(found) < 2 or not measure.better:
        return ""
    ordered = sorted(found, key=lambda cell: cell[0], reverse=measure.better == "lower")
    (worst, where), (best, _) = ordered[0], ordered[-1]
    if worst == best:
        return f"{measure.label} is {measure.say(best)} everywhere."
    return f"{measure.label} goes from {measure.say(worst)} ({where}) to {measure.say(best)}."


def _named(one: MatrixTable) -> Measure:
    return Measure(one.measure, one.display)


def _measure(number: int, one: MatrixTable) -> str:
    measure = _named(one)
    lead = (
        f"Of each cell's {_stage(one.stage)}: {text(measure.meaning or measure.label)}. "
        f"{text(over(one))}"
    )
    axes = f"Rows: {' · '.join(one.rows)}. Columns: {' · '.join(one.columns) or NONE}."
    note = (
        "Green is better, red is worse. Point at a cell for its interval, or see the table below."
    )
    if any(cell.failed and cell.mean is not None for cells in one.cells for cell in cells):
        note += " * A run of it failed; a defense that did counts with the model it was given."
    drawn = figure(
        text(axes),
        note,
        matrix_heatmap.draw(one),
        wide=True,
    )
    headings = [text(", ".join(one.rows)), *(text(" · ".join(c)) for c in one.column_labels)]
    rows = [
        [text(" · ".join(labels)), *(_cell(measure, cell) for cell in cells)]
        for labels, cells in zip(one.row_labels, one.cells, strict=True)
    ]
    numbers = table(headings, rows, numbers=range(1, len(headings)))
    shown = details("The same with intervals, as a table", numbers)
    return section(f"m{number}", f"{text(measure.label)}{measure.arrow}", lead, drawn + shown)


def over(one: MatrixTable) -> str:
    """Return what a value is a mean over, and what its interval is."""
    means = [f"{count} values of {name}" for name, count in one.averaged.items() if name != "seed"]
    chosen = [f"{name} {' or '.join(labels)}" for name, labels in one.where.items()]
    only = f" Only {', '.join(chosen)}." if chosen else ""
    if "seed" in one.averaged:
        spread = (
            "95 % intervals are the wider of Student's t over seeds and Wilson's over all prompts"
        )
        among = " and ".join([f"{one.averaged['seed']} seeds", *means])
        return f"Means over {among}; {spread}.{only}"
    held = "95 % intervals are those of one run's prompts"
    return (f"Means over {' and '.join(means)}." if means else f"{held}.") + only


def _stage(name: str) -> str:
    return "last model" if name == "final" else f"stage {text(name)}"


def _cell(measure: Measure, cell: TableCell) -> str:
    if cell.mean is None:
        return f'<span class="none">{text(matrix_heatmap.say(measure, cell))}</span>'
    if cell.low is None or cell.high is None:
        return measure.say(cell.mean)
    held = f"{measure.say(cell.low)} to {measure.say(cell.high)}"
    each = ", ".join(f"{seed}: {measure.say(value)}" for seed, value in cell.seeds.items())
    return f'{measure.say(cell.mean)}<span class="meaning" title="{text(each)}">{held}</span>'


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{axis}={label}" for axis, label in labels.items()) or NONE


def _plan(record: MatrixRecord) -> str:
    axes = [(text(axis), text(", ".join(labels))) for axis, labels in record.axes.items()]
    made = f"{record.stages_planned} made for {record.stages_total} stages of all cells"
    sets = f"{record.data_sets_planned} made for {record.data_sets_total}"
    return pairs(
        [
            *axes,
            ("Stages", made),
            ("Attackers' data sets", sets),
            ("Time", duration(record.seconds)),
        ]
    )

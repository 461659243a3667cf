"""Heat map of one measure of a matrix: rows by columns, with mean and interval on each cell."""

from collections.abc import Iterator, Sequence

from fedsafe.report.markup import text
from fedsafe.report.measures import NONE, Measure
from fedsafe.report.svg import drawing
from fedsafe.runs.matrix_records import MatrixTable, TableCell

WIDEST, WIDE, HIGH, LETTER = 190.0, 92.0, 34.0, 6.4
"""Room for the labels of rows, at most; width and height of a cell; width of a letter."""
LINE = 14.0


def draw(table: MatrixTable) -> str:
    """Return the map; strength tells how good a value is, and each cell has its number."""
    measure = Measure(table.measure, table.display)
    top = 10.0 + LINE * max(1, len(table.columns)) * 2
    longest = max((len(" · ".join(labels)) for labels in table.row_labels), default=0)
    left = min(WIDEST, LETTER * longest + 26)
    width = max(720.0, left + WIDE * max(1, len(table.column_labels)) + 8)
    body = [*_headings(table.column_labels, left, top)]
    for number, (labels, cells) in enumerate(zip(table.row_labels, table.cells, strict=True)):
        y = top + number * HIGH
        body.append(
            f'<text class="tick" x="{left - 10:g}" y="{y + HIGH / 2 + 4:g}" text-anchor="end">'
            f"{text(_short(' · '.join(labels), left - 16))}</text>"
        )
        body += [
            _cell(measure, cell, f"{' · '.join(labels)}, {' · '.join(over)}", (left + i * WIDE, y))
            for i, (over, cell) in enumerate(zip(table.column_labels, cells, strict=True))
        ]
    title = f"{measure.label} by {', '.join(table.rows)} and {', '.join(table.columns)}"
    height = top + HIGH * max(1, len(table.row_labels)) + 8
    return drawing(width, height, text(title), "".join(body))


def say(measure: Measure, cell: TableCell) -> str:
    """Return a cell's value with interval and number of runs, in words."""
    if cell.mean is None:
        return f"{cell.failed} failed" if cell.failed else "no run"
    lost = f", {cell.failed} failed" if cell.failed else ""
    runs = f"{cell.runs} run{'s' * (cell.runs != 1)}{lost}"
    if cell.low is None or cell.high is None:
        return f"{measure.say(cell.mean)} ({runs})"
    held = f"{measure.say(cell.low)} to {measure.say(cell.high)}"
    return f"{measure.say(cell.mean)}, 95 % interval {held} ({runs})"


def _headings(columns: Sequence[Sequence[str]], left: float, top: float) -> Iterator[str]:
    for number, labels in enumerate(columns):
        x = left + (number + 0.5) * WIDE
        lines = [part for label in labels for part in _two_lines(label)]
        for line, part in enumerate(lines):
            y = top - 6 - LINE * (len(lines) - 1 - line)
            yield f'<text class="tick" x="{x:g}" y="{y:g}" text-anchor="middle">{text(part)}</text>'


def _two_lines(label: str) -> list[str]:
    """Return a label on one line, or broken at a space onto two."""
    room = int(WIDE / LETTER)
    if len(label) <= room:
        return [label]
    begin = label.rfind(" ", 0, room + 1)
    first, rest = (label[:begin], label[begin + 1 :]) if begin > 0 else (label[:room], label[room:])
    return [first, _short(rest, WIDE)]


def _short(label: str, width: float) -> str:
    room = int(width / LETTER)
    return label if len(label) <= room else f"{label[: room - 1]}…"


def _cell(measure: Measure, cell: TableCell, where: str, place: tuple[float, float]) -> str:
    x, y = place
    box = f'x="{x + 1.5:g}" y="{y + 1.5:g}" width="{WIDE - 3:g}" height="{HIGH - 3:g}" rx="3"'
    good = measure.goodness(cell.mean)
    if cell.mean is None:
        drawn = f'<rect class="empty" {box}/>'
    else:
        role, strength = ("unknown", 0.3) if good is None else _shade(good)
        drawn = f'<rect class="cell fill-{role}" fill-opacity="{strength:.2f}" {box}/>'
    shown = (
        (f"{cell.failed} failed" if cell.failed else NONE)
        if cell.mean is None
        else f"{measure.say(cell.mean)}{' *' if cell.failed else ''}"
    )
    return (
        f"<g><title>{text(f'{where}: {say(measure, cell)}')}</title>{drawn}"
        f'<text class="stage" x="{x + WIDE / 2:g}" y="{y + HIGH / 2 + 4:g}" text-anchor="middle">'
        f"{text(shown)}</text></g>"
    )


def _shade(good: float) -> tuple[str, float]:
    """Return color and strength: towards one color as it is better, the other as it is worse."""
    return ("defended", 0.08 + 0.5 * (2 * good - 1)) if good >= 0.5 else (
        "attacked", 0.08 + 0.5 * (1 - 2 * good)
    )  # fmt: skip

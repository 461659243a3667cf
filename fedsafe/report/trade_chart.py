"""Curves of a defense's settings in the report: each measure against steps, a line a setting."""

from collections.abc import Sequence
from typing import Final

from fedsafe.report.loader import RunData
from fedsafe.report.markup import details, figure, section, table, text
from fedsafe.report.measures import NONE, OVER_REFUSAL, UNSAFE, Measure, percent
from fedsafe.report.svg import SHAPES, Frame, apart, drawing, marker, path
from fedsafe.report.trades import Trade, Try, trades

WIDTH, HEIGHT = 520.0, 250.0
ROLES: Final = ("defended", "attacked", "clean", "aligned", "base", "unknown")
"""Colors of the lines, in turn."""
TICKS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


def trade_curves(run: RunData) -> str:
    """Return a section with the curves of every defense that was tried several times."""
    found = trades(run.stages, run.defenses)
    if not found:
        return ""
    lead = (
        "The same model repaired with different settings: safety and helpfulness against them, "
        "with 95 % intervals. Settings in which the repairs of a line are alike are its name."
    )
    return section("trades", "Trades", lead, "".join(map(_trade, found)))


def _trade(trade: Trade) -> str:
    shown = [m for m in trade.measures if m != UNSAFE or OVER_REFUSAL not in trade.measures]
    panels = "".join(
        figure(
            f"{text(trade.name)}: {text(measure.label)}{measure.arrow}",
            text(measure.meaning),
            _chart(trade, measure),
        )
        for measure in shown
    )
    heads = [trade.axis, *trade.others, *(m.label + m.arrow for m in trade.measures)]
    rows = [
        [f"{one.x:g}", *map(text, one.others), *(_value(one, m) for m in trade.measures)]
        for one in trade.tries
    ]
    beside = details("The same as a table", table([text(head) for head in heads], rows))
    return f'<div class="grid">{panels}</div>{beside}'


def _value(one: Try, measure: Measure) -> str:
    rate = one.found.get(measure)
    return NONE if rate is None else measure.say(rate.value)


def _chart(trade: Trade, measure: Measure) -> str:
    lines = {
        name: known
        for name, tries in trade.lines().items()
        if (known := [one for one in tries if measure in one.found])
    }
    places = sorted({one.x for one in trade.tries})
    frame = Frame(WIDTH, HEIGHT, places[0], places[-1], 1.0, (24.0, 110.0, 30.0, 50.0))
    roles = {name: ROLES[index % len(ROLES)] for index, name in enumerate(lines)}
    body = [
        frame.axes(TICKS, percent),
        frame.under([(x, f"{x:g}") for x in _spread(frame, places)], text(trade.axis)),
        *(_line(frame, tries, measure, roles[name]) for name, tries in lines.items()),
        _names(frame, lines, measure, roles),
    ]
    return drawing(WIDTH, HEIGHT, text(f"{measure.label} against {trade.axis}"), "".join(body))


def _spread(frame: Frame, places: Sequence[float]) -> list[float]:
    """Return the values whose labels have room on the axis."""
    kept: list[float] = []
    for x in places:
        if not kept or frame.x(x) - frame.x(kept[-1]) >= 28:
            kept.append(x)
    return kept


def _line(frame: Frame, tries: Sequence[Try], measure: Measure, role: str) -> str:
    drawn, points = [], []
    for one in tries:
        rate = one.found[measure]
        if rate.value is None:
            continue
        x, y = frame.x(one.x), frame.y(rate.value)
        points.append((x, y))
        if rate.low is not None and rate.high is not None:
            drawn.append(
                f'<line class="whisker stroke-{role}" x1="{x}" x2="{x}" '
                f'y1="{frame.y(rate.low)}" y2="{frame.y(rate.high)}"/>'
            )
        drawn.append(marker(SHAPES.get(role, "diamond"), x, y, 3.2, f"fill-{role}"))
    line = f'<path class="line stroke-{role}" d="{path(points)}"/>' if points else ""
    return line + "".join(drawn)


def _names(
    frame: Frame,
    lines: dict[str, list[Try]],
    measure: Measure,
    roles: dict[str, str],
) -> str:
    """Name each line at its end."""
    ends = [
        (name, frame.y(value))
        for name, tries in lines.items()
        if (value := tries[-1].found[measure].value) is not None
    ]
    heights = apart([y for _, y in ends], 15.0, HEIGHT - frame.margin[2] - 5)
    return "".join(
        f'<text class="name text-{roles[name]}" x="{frame.right + 12}" y="{height + 4:.1f}">'
        f"{text(name)}</text>"
        for (name, _), height in zip(ends, heights, strict=True)
    )

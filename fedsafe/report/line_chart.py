"""Line charts over rounds: bands for intervals, markers for full evaluations, readouts.

Pointing at a round shows its values without a script. Knows nothing of runs.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import quantiles

from fedsafe.report.markup import text
from fedsafe.report.svg import SHAPES, Frame, apart, drawing, marker, path, rounds_axis, scale

HEIGHT = 250.0
ABSURD, TIMES = 1e3, 100.0
"""A value above both, the second as a multiple of the lower quartile, does not set the axis."""
BAND = 2.0
"""A band sets the axis up to so many times the highest value of a line."""


@dataclass(frozen=True)
class Point:
    """A value at a round, with its bounds."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """A line with its role, which gives it a color and a shape."""

    name: str
    role: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Chart:
    """What a line chart shows."""

    label: str
    series: Sequence[Series]
    rounds: int
    say: Callable[[float], str]
    top: float | None = None
    """Upper end; found from the values where None."""
    start: Point | None = None
    """A full evaluation before round 1."""
    before: str = "base"
    """Name of the stage that it is of."""
    ends: Sequence[tuple[str, Point]] = ()
    """Full evaluations after the last round, by name; each is of the last round's model."""
    width: float = 520.0
    labels: Sequence[str] = ()
    """Labels of the places 1, 2, ... along the axis where those are no rounds."""
    axis: str = "round"
    """What the axis along is of."""


def draw(chart: Chart) -> str:
    """Return a line chart; what lies beyond its axis is marked by an arrow with its value."""
    bottom, top, ticks = (
        (0.0, chart.top, [i * chart.top / 4 for i in range(5)]) if chart.top else _axis(chart)
    )
    first = 0.0 if chart.start else 1.0
    after = _after(chart)
    last = after[-1] if after else max(chart.rounds, first + 1)
    margin = (34.0, 78.0, 30.0, 50.0)
    frame = Frame(chart.width, HEIGHT, first, float(last), top, margin, bottom)
    named = [str(number) for number in range(1, chart.rounds + 1)]
    shown = rounds_axis(chart.rounds)
    if chart.labels:
        named, shown = list(chart.labels), list(range(1, chart.rounds + 1))
    under = [(float(number), named[number - 1]) for number in shown]
    under += [(0.0, chart.before)] if chart.start else []
    under += [
        (place, f"D{number}" if len(after) > 1 else "after")
        for number, place in enumerate(after, 1)
    ]
    body = [
        frame.axes(ticks, chart.say),
        frame.under(under, "" if chart.start else chart.axis),
        *(_band(frame, series) for series in chart.series),
        _joints(frame, chart),
        *(_line(frame, series) for series in chart.series),
        *(_beyond(frame, chart, series) for series in chart.series),
        *_evaluations(frame, chart),
        _names(frame, chart),
        *_readouts(frame, chart),
    ]
    return drawing(chart.width, HEIGHT, chart.label, "".join(body), _told(chart))


def _told(chart: Chart) -> str:
    """Return the course of each line in words."""
    parts = [
        f"{series.name} from {chart.say(series.points[0].y)} to {chart.say(series.points[-1].y)}"
        for series in chart.series
        if series.points
    ]
    return f"By {chart.axis}: {'; '.join(parts)}."


def _with_interval(chart: Chart, point: Point) -> str:
    """Return a value with its interval."""
    if point.low is None or point.high is None:
        return chart.say(point.y)
    return f"{chart.say(point.y)} [{chart.say(point.low)} to {chart.say(point.high)}]"


def _after(chart: Chart) -> list[float]:
    """Return the places of what comes after the last round."""
    step = max(chart.rounds, 4) / 10
    return [chart.rounds + step * (1.2 + index) for index in range(len(chart.ends))]


def _axis(chart: Chart) -> tuple[float, float, list[float]]:
    """Return the ends of the axis, and ticks: every line is within, unless a value is absurd."""
    sizes = [abs(point.y) for series in chart.series for point in series.points]
    usual = quantiles(sizes, n=4)[0] if len(sizes) > 1 else sum(sizes)
    most = max(ABSURD, TIMES * usual)
    lines = [p.y for s in chart.series for p in s.points if abs(p.y) <= most]
    low, high = min(lines, default=0.0), max(lines, default=1.0)
    bands = [p.high for s in chart.series for p in s.points if p.high is not None]
    high = max([high, *(end for end in bands if 0 < end <= BAND * high)])
    return scale(low, high)


def _band(frame: Frame, series: Series) -> str:
    known = [(p.x, p.low, p.high) for p in series.points if p.low is not None]
    if len(known) < 2:
        return ""
    upper = [(frame.x(x), frame.y(high or 0.0)) for x, _, high in known]
    lower = [(frame.x(x), frame.y(low or 0.0)) for x, low, _ in reversed(known)]
    return f'<path class="band fill-{series.role}" d="{path(upper + lower, closed=True)}"/>'


def _line(frame: Frame, series: Series) -> str:
    """Draw the line, broken where a value lies beyond the axis."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for point in series.points:
        if frame.beyond(point.y):
            pieces.append([])
        else:
            pieces[-1].append((frame.x(point.x), frame.y(point.y)))
    shape = SHAPES.get(series.role, "diamond")
    radius = 3.2 if len(series.points) <= 24 else 1.6
    return "".join(
        f'<path class="line stroke-{series.role}" d="{path(piece)}"/>'
        + "".join(marker(shape, x, y, radius, f"fill-{series.role}") for x, y in piece)
        for piece in pieces
        if piece
    )


def _beyond(frame: Frame, chart: Chart, series: Series) -> str:
    """Mark every value, and every end of a band, that lies beyond the axis."""
    drawn = []
    for point in series.points:
        x = frame.x(point.x)
        ends = ((point.low, "band"), (point.high, "band"), (point.y, ""))
        for value, what in ends:
            if value is None or not (arrow := frame.beyond(value)):
                continue
            y = frame.y(value) + (12 if arrow == "▲" else -6)
            said = f"round {point.x:g}, {series.name}: {what} {chart.say(value)}".replace("  ", " ")
            told = "" if what else f" {chart.say(value)}"
            drawn.append(
                f'<text class="beyond text-{series.role}" x="{x:g}" y="{y:g}" '
                f'text-anchor="middle">{arrow}{told}<title>{said}</title></text>'
            )
    return "".join(drawn)


def _joints(frame: Frame, chart: Chart) -> str:
    """Draw the dashes between rounds and full evaluations."""
    found = [
        (series.role, chart.start, series.points[0])
        for series in chart.series
        if chart.start and series.points
    ]
    if chart.series and chart.series[0].points:
        last = chart.series[0].points[-1]
        for place, (_, end) in zip(_after(chart), chart.ends, strict=True):
            found.append(("defended", last, Point(place, end.y)))
    return "".join(
        f'<line class="joint stroke-{role}" x1="{frame.x(a.x)}" y1="{frame.y(a.y)}" '
        f'x2="{frame.x(b.x)}" y2="{frame.y(b.y)}"/>'
        for role, a, b in found
    )


def _evaluations(frame: Frame, chart: Chart) -> Iterable[str]:
    if chart.start:
        said = f"{text(chart.before)}, before round 1: {_with_interval(chart, chart.start)}"
        yield f"<g><title>{said}</title>{_evaluation(frame, chart.start, chart.before)}</g>"
    for place, (name, end) in zip(_after(chart), chart.ends, strict=True):
        drawn = _evaluation(frame, Point(place, end.y, end.low, end.high), "defended")
        yield f"<g><title>{text(name)}: {_with_interval(chart, end)}</title>{drawn}</g>"


def _evaluation(frame: Frame, point: Point, role: str) -> str:
    x, y = frame.x(point.x), frame.y(point.y)
    bar = ""
    if point.low is not None and point.high is not None:
        bar = (
            f'<line class="whisker stroke-{role}" x1="{x}" x2="{x}" '
            f'y1="{frame.y(point.low)}" y2="{frame.y(point.high)}"/>'
        )
    return bar + marker(SHAPES.get(role, "diamond"), x, y, 5.2, f"hollow stroke-{role}")


def _names(frame: Frame, chart: Chart) -> str:
    """Name each line at its end, so that no eye has to travel to a legend."""
    ends = [(s.name, s.role, s.points[-1]) for s in chart.series if s.points]
    places = [(name, role, frame.y(point.y)) for name, role, point in ends]
    if chart.ends:
        places.append(("defended", "defended", frame.y(chart.ends[-1][1].y)))
    heights = apart([y for _, _, y in places], 15.0, HEIGHT - frame.margin[2] - 5)
    return "".join(
        f'<text class="name text-{role}" x="{frame.right + 12}" y="{height + 4:.1f}">{name}</text>'
        for (name, role, _), height in zip(places, heights, strict=True)
    )


def _readouts(frame: Frame, chart: Chart) -> Iterable[str]:
    """Yield an invisible zone for each round, which shows the round's values when met."""
    half = (frame.x(2) - frame.x(1)) / 2
    above, _, below, left = frame.margin
    for number in range(1, chart.rounds + 1):
        met = [(s.name, point) for s in chart.series for point in s.points if point.x == number]
        said = [f"{name} {chart.say(point.y)}" for name, point in met]
        held = "\n".join(f"{name} {_with_interval(chart, point)}" for name, point in met)
        if said:
            x, named = frame.x(number), chart.labels[number - 1] if chart.labels else number
            yield (
                f'<g class="hit"><title>{chart.axis} {named}\n{held}</title>'
                f'<rect class="zone" x="{x - half:g}" y="{above}" '
                f'width="{2 * half:g}" height="{frame.height - above - below:g}"/>'
                f'<line class="guide" x1="{x}" x2="{x}" y1="{above}" '
                f'y2="{frame.height - below:g}"/><text class="readout" x="{left}" y="16">'
                f"{chart.axis} {named}: {', '.join(said)}</text></g>"
            )

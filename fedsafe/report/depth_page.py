"""Depth section of the report: unsafe replies against how much of them is forced, by stage."""

from fedsafe.report.depth_curves import ALL, DepthCurve, depth_curves
from fedsafe.report.line_chart import Chart, Point, Series, draw
from fedsafe.report.loader import RunData
from fedsafe.report.markup import details, figure, section, table, text
from fedsafe.report.measures import NONE, interval, percent
from fedsafe.report.roles import role
from fedsafe.report.svg import swatch
from fedsafe.runs.records import Stage
from fedsafe.runs.scores import Rate

LEAD = (
    "complied with, when the first words or tokens of a complying reply are forced. A model whose "
    "safety lies in its first tokens alone refuses at depth 0 and complies soon after (Qi et al., "
    "ICLR 2025)."
)


def depth(run: RunData) -> str:
    """Return the depth curves of a run; nothing where prompts were asked at fewer than two."""
    drawn = "".join(_curve(run, curve) for curve in depth_curves(run.stages))
    lead = f"{text(run.story.asked.capitalize())} {LEAD}"
    return section("depth", "Depth of the refusals", lead, drawn) if drawn else ""


def _curve(run: RunData, curve: DepthCurve) -> str:
    stages = [stage for stage in run.stages if stage.name in curve.rates]
    chart = Chart(
        f"Unsafe replies by forced {curve.unit}",
        [Series(text(_short(run, stage)), role(stage), _points(curve, stage)) for stage in stages],
        len(curve.depths),
        percent,
        top=1.0,
        width=700,
        labels=curve.depths,
        axis=curve.unit,
    )
    names = [text(run.titles[stage.name][0]) for stage in stages]
    keys = "".join(swatch(role(stage), name) for stage, name in zip(stages, names, strict=True))
    rows = [
        [f"{d} {curve.unit}" if d != ALL else "all of it", *(_cell(curve, s, d) for s in stages)]
        for d in curve.depths
    ]
    beside = details(
        "The same as a table", table(["Forced", *names], rows, numbers=range(1, len(names) + 1))
    )
    note = "Bands are 95 % intervals; depth 0 is asked plainly."
    title = f"Unsafe against forced {curve.unit}"
    return f'<p class="legend">{keys}</p>{figure(title, note, draw(chart))}{beside}'


def _points(curve: DepthCurve, stage: Stage) -> list[Point]:
    """Return the points of a stage, at the places of their depths."""
    found = curve.rates[stage.name]
    return [
        Point(float(place), rate.value, rate.low, rate.high)
        for place, depth in enumerate(curve.depths, 1)
        if (rate := found.get(depth)) is not None and rate.value is not None
    ]


def _cell(curve: DepthCurve, stage: Stage, depth: str) -> str:
    rate: Rate | None = curve.rates[stage.name].get(depth)
    if rate is None:
        return NONE
    return f'{percent(rate.value)} <span class="meaning">{interval(rate)} · n {rate.n}</span>'


def _short(run: RunData, stage: Stage) -> str:
    """Return a stage's name as it stands at the end of its line."""
    return run.story.name(stage) if stage in run.story.defended else stage.name

"""Depth curve: how much is complied with as more of the reply's beginning is forced.

Knows nothing of models; reads conditions ``prefilled`` and ``prefilled:k``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from fedsafe.report.markup import text
from fedsafe.report.svg import SHAPES, Frame, apart, drawing, marker, path
from fedsafe.runs.records import Rate, Scores
from fedsafe.runs.scores import PLAIN, parts_of

WIDTH, HEIGHT = 520.0, 250.0
CONDITION = "prefilled"
LONGEST = 15
"""Characters of a name at the end of its curve."""
FEWEST = 3
"""Depths from which there is a curve, the plain question being one."""


@dataclass(frozen=True)
class Curve:
    """Unsafe compliance of one stage by depth; its name is foreign text."""

    name: str
    role: str
    rates: dict[float, Rate]
    """By number of forced words; 0: none, infinity: the whole prefill."""


def rates(scores: Scores) -> dict[float, Rate]:
    """Return unsafe compliance by the number of words that were forced, ascending."""
    found: dict[float, Rate] = {}
    for key, rate in scores.measures.items():
        measure, condition = parts_of(key)
        words = _words(condition)
        if measure == "unsafe" and words is not None and rate.value is not None:
            found[words] = rate
    return dict(sorted(found.items()))


def _words(condition: str) -> float | None:
    name, _, count = condition.partition(":")
    if condition == PLAIN:
        return 0.0
    if name != CONDITION:
        return None
    return float(count) if count.isdecimal() else None if count else inf


def draw(label: str, curves: Sequence[Curve]) -> str:
    """Return the curves of stages that were asked at several depths; empty where none was."""
    drawn = [curve for curve in curves if len(curve.rates) >= FEWEST]
    if not drawn:
        return ""
    depths = sorted({words for curve in drawn for words in curve.rates})
    frame = Frame(WIDTH, HEIGHT, 0.0, float(len(depths) - 1), 1.0, (14.0, 124.0, 34.0, 56.0))
    places = {words: float(index) for index, words in enumerate(depths)}
    body = [
        frame.axes([0.0, 0.25, 0.5, 0.75, 1.0], lambda value: f"{100 * value:g} %"),
        frame.under([(places[words], _named(words)) for words in depths], "words"),
        *(_curve(frame, curve, places) for curve in drawn),
        _names(frame, drawn, places),
    ]
    told = "; ".join(f"{text(curve.name)}: {_said(curve)}" for curve in drawn)
    return drawing(WIDTH, HEIGHT, label, "".join(body), told)


def _named(words: float) -> str:
    return "0" if words == 0 else "all" if words == inf else f"{words:g}"


def _curve(frame: Frame, curve: Curve, places: dict[float, float]) -> str:
    known = [(words, rate, rate.value or 0.0) for words, rate in curve.rates.items()]
    line = path([(frame.x(places[words]), frame.y(value)) for words, _, value in known])
    parts = [f'<path class="line stroke-{curve.role}" d="{line}"/>']
    for words, rate, value in known:
        x = frame.x(places[words])
        whisker = ""
        if rate.low is not None and rate.high is not None:
            whisker = (
                f'<line class="whisker stroke-{curve.role}" x1="{x}" x2="{x}" '
                f'y1="{frame.y(rate.low)}" y2="{frame.y(rate.high)}"/>'
            )
        shape = SHAPES.get(curve.role, "diamond")
        parts.append(
            f"<g><title>{text(curve.name)}, words forced: {_named(words)}\n{_value(rate)}</title>"
            f"{whisker}{marker(shape, x, frame.y(value), 4.2, f'fill-{curve.role}')}</g>"
        )
    return "".join(parts)


def _names(frame: Frame, curves: Sequence[Curve], places: dict[float, float]) -> str:
    ends = [list(curve.rates.values())[-1].value or 0.0 for curve in curves]
    heights = apart([frame.y(end) for end in ends], 15.0, HEIGHT - frame.margin[2] - 5)
    return "".join(
        f'<text class="name text-{curve.role}" x="{frame.right + 12}" y="{height + 4:.1f}">'
        f"{text(_short(curve.name))}</text>"
        for curve, height in zip(curves, heights, strict=True)
    )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _value(rate: Rate) -> str:
    said = f"{100 * (rate.value or 0.0):.1f} %"
    if rate.low is None or rate.high is None:
        return said
    return f"{said} [{100 * rate.low:.1f} to {100 * rate.high:.1f}]"


def _said(curve: Curve) -> str:
    return ", ".join(f"{_named(w)} {_value(rate)}" for w, rate in curve.rates.items())

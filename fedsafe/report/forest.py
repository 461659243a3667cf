"""Values of several stages below one another, each with its interval, on one axis.

Knows nothing of runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fedsafe.report.markup import text
from fedsafe.report.svg import SHAPES, drawing, marker

LEFT, RIGHT, ROW, TOP = 150.0, 64.0, 26.0, 8.0
LONGEST = 17
"""Characters of a name beside the axis."""


@dataclass(frozen=True)
class Dot:
    """A share with its interval, and whose it is, as foreign text."""

    name: str
    role: str
    value: float
    low: float | None = None
    high: float | None = None


def draw(label: str, dots: Sequence[Dot], reference: float | None = None) -> str:
    """Return dots with whiskers on an axis from 0 to 100 %.

    Args:
        label: What is drawn.
        dots: From top to bottom.
        reference: Where a dashed line stands, such as the value before the attack.
    """
    width, height = 520.0, TOP + ROW * len(dots) + 24
    foot = height - 22
    body = [_axis(width, foot)]
    if reference is not None:
        x = _x(reference, width)
        body.append(f'<line class="reference" x1="{x}" x2="{x}" y1="{TOP}" y2="{foot}"/>')
    body += [_row(dot, TOP + ROW * (n + 0.5), width) for n, dot in enumerate(dots)]
    told = "; ".join(f"{text(dot.name)} {_said(dot)}" for dot in dots)
    return drawing(width, height, label, "".join(body), told)


def _x(value: float, width: float) -> float:
    return round(LEFT + min(max(value, 0.0), 1.0) * (width - LEFT - RIGHT), 1)


def _axis(width: float, foot: float) -> str:
    return "".join(
        f'<line class="rule" x1="{_x(tick, width)}" x2="{_x(tick, width)}" y1="{TOP}" y2="{foot}"/>'
        f'<text class="tick" x="{_x(tick, width)}" y="{foot + 16}" text-anchor="middle">'
        f"{100 * tick:g} %</text>"
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0)
    )


def _row(dot: Dot, y: float, width: float) -> str:
    x, whisker = _x(dot.value, width), ""
    if dot.low is not None and dot.high is not None:
        whisker = (
            f'<line class="whisker stroke-{dot.role}" x1="{_x(dot.low, width)}" '
            f'x2="{_x(dot.high, width)}" y1="{y:g}" y2="{y:g}"/>'
        )
    name = dot.name if len(dot.name) <= LONGEST else f"{dot.name[: LONGEST - 1]}…"
    return (
        f'<g class="dot-row"><title>{text(dot.name)}: {_said(dot)}</title>'
        f'<rect class="zone" x="0" y="{y - ROW / 2:g}" width="{width:g}" height="{ROW:g}"/>'
        f'<text class="name text-{dot.role}" x="{LEFT - 14}" y="{y + 4:g}" text-anchor="end">'
        f"{text(name)}</text>{whisker}"
        f"{marker(SHAPES.get(dot.role, 'diamond'), x, y, 4.6, f'fill-{dot.role}')}"
        f'<text class="value" x="{width}" y="{y + 4:g}" text-anchor="end">'
        f"{100 * dot.value:.1f} %</text></g>"
    )


def _said(dot: Dot) -> str:
    said = f"{100 * dot.value:.1f} %"
    if dot.low is None or dot.high is None:
        return said
    return f"{said} [{100 * dot.low:.1f} to {100 * dot.high:.1f}]"

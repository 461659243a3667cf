"""Drawing in SVG: a frame with axes, and marks that take their colors from the page.

Colors are classes, so that light and dark need one drawing. Knows nothing of runs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

SHAPES = {
    "base": "circle",
    "aligned": "circle",
    "clean": "circle",
    "attacked": "square",
    "honest": "circle",
    "malicious": "square",
    "sent": "square",
    "received": "square",
}
"""Marker of each role, so that nothing is told by color alone; a diamond for the rest."""


@dataclass(frozen=True)
class Frame:
    """A plotting area with linear axes; x runs over [first, last], y over [bottom, top]."""

    width: float
    height: float
    first: float
    last: float
    top: float
    margin: tuple[float, float, float, float] = (34.0, 78.0, 30.0, 44.0)
    """Above, right, below, left."""
    bottom: float = 0.0

    def x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        _, right, _, left = self.margin
        span = (self.last - self.first) or 1.0
        return round(left + (value - self.first) / span * (self.width - left - right), 2)

    def y(self, value: float) -> float:
        """Return the vertical place of a value.

        What is beyond the frame lies on its edge: whoever draws it there marks it (`beyond`).
        """
        above, _, below, _ = self.margin
        span = (self.top - self.bottom) or 1.0
        share = min(max((value - self.bottom) / span, 0.0), 1.0)
        return round(self.height - below - share * (self.height - above - below), 2)

    def beyond(self, value: float) -> str:
        """Return an arrow towards a value that is outside the frame; empty where it is inside."""
        slack = 1e-9 * (self.top - self.bottom)
        return "▲" if value > self.top + slack else "▼" if value < self.bottom - slack else ""

    @property
    def right(self) -> float:
        """Right edge of the plotting area."""
        return self.width - self.margin[1]

    def axes(self, ticks: Sequence[float], label: Callable[[float], str]) -> str:
        """Draw horizontal rules with their values."""
        left = self.margin[3]
        return "".join(
            f'<line class="{"axis" if tick == 0 else "rule"}" x1="{left}" x2="{self.right}" '
            f'y1="{self.y(tick)}" y2="{self.y(tick)}"/>'
            f'<text class="tick" x="{left - 8}" y="{self.y(tick) + 4}" text-anchor="end">'
            f"{label(tick)}</text>"
            for tick in ticks
        )

    def under(self, places: Sequence[tuple[float, str]], title: str = "") -> str:
        """Draw the labels of the horizontal axis."""
        at = self.height - self.margin[2] + 18
        named = (
            f'<text class="tick" x="{self.margin[3] - 8}" y="{at}" text-anchor="end">{title}</text>'
        )
        return (named if title else "") + "".join(
            f'<text class="tick" x="{self.x(x)}" y="{at}" text-anchor="middle">{label}</text>'
            for x, label in places
        )


def drawing(width: float, height: float, label: str, body: str, told: str = "") -> str:
    """Return a scalable drawing with a title, and a description for those who do not see it.

    A wide one keeps a width at which its texts can be read, and scrolls within the page.
    """
    kind = "wider" if width > 760 else "wide" if width > 600 else "small"
    hint = '<p class="swipe">Wider than the screen: scroll it sideways.</p>' if width > 600 else ""
    return (
        f'<div class="drawing" tabindex="0" role="group" aria-label="Drawing: {label}">'
        f'<svg class="{kind}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}" '
        f'preserveAspectRatio="xMinYMin meet"><title>{label}</title><desc>{told}</desc>'
        f"{body}</svg></div>{hint}"
    )


def path(points: Sequence[tuple[float, float]], *, closed: bool = False) -> str:
    """Return path data through points."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) + ("Z" if closed else "")


def marker(shape: str, x: float, y: float, radius: float, kind: str) -> str:
    """Return a circle, square or diamond."""
    if shape == "circle":
        return f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}"/>'
    if shape == "square":
        side = radius * 1.8
        return (
            f'<rect class="{kind}" x="{x - side / 2:g}" y="{y - side / 2:g}" width="{side:g}" '
            f'height="{side:g}" rx="1"/>'
        )
    far = radius * 1.35
    corners = [(x, y - far), (x + far, y), (x, y + far), (x - far, y)]
    return f'<path class="{kind}" d="{path(corners, closed=True)}"/>'


def swatch(role: str, name: str) -> str:
    """Return an entry of a legend; the name is HTML already."""
    mark = marker(SHAPES.get(role, "diamond"), 7, 7, 4.5, f"fill-{role}")
    return (
        f'<span class="key"><svg viewBox="0 0 14 14" aria-hidden="true">{mark}</svg>{name}</span>'
    )


def nice(value: float) -> tuple[float, list[float]]:
    """Return a round upper end at or above a value, with three to six ticks from 0."""
    if not math.isfinite(value) or value <= 0:
        return 1.0, [0.0, 0.5, 1.0]
    power = 10.0 ** math.floor(math.log10(value))
    step = next(m for m in (0.2, 0.5, 1.0, 2.0, 5.0) if value <= 5 * m * power) * power
    count = math.ceil(value / step - 1e-9)
    return count * step, [index * step for index in range(count + 1)]


def scale(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return a round lower and upper end around two values, and ticks; 0 is always within."""
    if not (math.isfinite(low) and math.isfinite(high)) or low >= 0:
        top, ticks = nice(high)
        return 0.0, top, ticks
    step = nice(max(high, 0.0) - low)[1][1]
    first, last = math.floor(low / step + 1e-9), math.ceil(max(high, 0.0) / step - 1e-9)
    ticks = [index * step for index in range(first, last + 1)]
    return ticks[0], ticks[-1], ticks


def apart(places: Sequence[float], gap: float, lowest: float) -> list[float]:
    """Return places moved to lie a gap apart, in their order, none beyond the lowest."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    excess = sum(moved) / len(moved) - sum(places) / len(places) if places else 0.0
    excess = max(excess, max(moved, default=lowest) - lowest)
    return [place - excess for place in moved]


def rounds_axis(count: int, most: int = 10) -> list[int]:
    """Return the rounds to label, at most about ten of them."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if count <= s * most)
    return list(range(step, count + 1, step)) or [count]

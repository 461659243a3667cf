"""Bars: a share with its interval in a table cell, amounts a round in a chart.

Knows nothing of runs.
"""

from collections.abc import Callable, Sequence

from fedsafe.report.svg import Frame, drawing, nice, rounds_axis
from fedsafe.runs.records import Rate

GOOD, BAD = 0.9, 0.5
"""From here on up a share of the good is plainly good, from there on down plainly bad."""


def share(rate: Rate, goodness: float | None) -> str:
    """Return a small bar of a share with its interval; the number stands beside it.

    Args:
        rate: A share in [0, 1].
        goodness: How good it is, from 0 to 1, which gives the color; None: neither.
    """
    if rate.value is None or not 0 <= rate.value <= 1:
        return ""
    long = 120.0
    whisker = ""
    if rate.low is not None and rate.high is not None:
        whisker = (
            f'<line class="whisker-dark" x1="{rate.low * long:.1f}" x2="{rate.high * long:.1f}" '
            'y1="5" y2="5"/>'
        )
    role = quality(goodness)
    return (
        f'<svg class="share" viewBox="0 0 {long:g} 10" aria-hidden="true">'
        f'<rect class="track" width="{long:g}" height="6" y="2" rx="3"/>'
        f'<rect class="fill-{role}" width="{rate.value * long:.1f}" height="6" y="2" rx="3"/>'
        f"{whisker}</svg>"
    )


def quality(goodness: float | None) -> str:
    """Return the class of what is plainly good, plainly bad, or for the reader to judge."""
    if goodness is None:
        return "level"
    return "good" if goodness >= GOOD else "bad" if goodness <= BAD else "level"


def stacked(
    label: str,
    bars: Sequence[tuple[int, Sequence[tuple[str, float]]]],
    say: Callable[[float], str],
    *,
    width: float = 520.0,
) -> str:
    """Return bars over rounds, each a stack of (role, amount)."""
    top, ticks = nice(max((sum(a for _, a in parts) for _, parts in bars), default=0.0))
    first, last = min(n for n, _ in bars), max(n for n, _ in bars)
    frame = Frame(width, 180, first - 0.6, last + 0.6, top, (14, 12, 28, 66))
    wide = min(34.0, (frame.x(2) - frame.x(1)) * 0.72)
    body = [frame.axes(ticks, say)]
    for number, parts in bars:
        below = 0.0
        told = ", ".join(f"{role} {say(amount)}" for role, amount in parts)
        body.append(f"<g><title>round {number}: {told}</title>")
        for role, amount in parts:
            y, foot = frame.y(below + amount), frame.y(below)
            body.append(
                f'<rect class="fill-{role}" x="{frame.x(number) - wide / 2:g}" y="{y}" '
                f'width="{wide:g}" height="{max(foot - y, 0):g}"/>'
            )
            below += amount
        body.append("</g>")
    labelled = set(rounds_axis(len(bars)))
    body.append(
        frame.under(
            [(float(n), str(n)) for i, (n, _) in enumerate(bars, 1) if i in labelled], "round"
        )
    )
    return drawing(width, 180, label, "".join(body))

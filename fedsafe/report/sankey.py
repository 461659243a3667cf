"""Sankey diagram of harmful prompts' outcomes from stage to stage.

Knows nothing of who made the stages.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from fedsafe.report.svg import drawing
from fedsafe.runs.scores import HARMFUL

OUTCOMES = ("refuse", "garbage", "unknown", "comply")
"""From safe on top to unsafe below."""
WIDTH, TALL, BAR, TOP = 1060.0, 190.0, 16.0, 46.0
NAMED = 150.0
"""Room for the words beside the last bar."""


def draw(
    stages: Sequence[tuple[str, Mapping[str, str]]],
    width: float = WIDTH,
    asked: str = HARMFUL,
) -> str:
    """Return bands between stages; each stage maps a prompt's id to its outcome.

    Only prompts that every stage was asked are followed. Each stage is drawn as what the one
    before it became.
    """
    ids = sorted(set.intersection(*(set(found) for _, found in stages)))
    if not ids or len(stages) < 2:
        return ""
    step = (width - NAMED - BAR) / (len(stages) - 1)
    places = [index * step for index in range(len(stages))]
    tops = [_tops([found[i] for i in ids]) for _, found in stages]
    body = []
    for index, ((_, one), (_, other)) in enumerate(pairwise(stages)):
        moves = Counter((one[i], other[i]) for i in ids)
        body.append(
            _bands(moves, tops[index], tops[index + 1], places[index : index + 2], len(ids))
        )
    for (name, found), x, top in zip(stages, places, tops, strict=True):
        counts = Counter(found[i] for i in ids)
        body.append(_heading(name, x, None if x < places[-1] else width))
        body += [_bar(x, top[o], counts[o], o, len(ids)) for o in OUTCOMES if counts[o]]
    label = f"Outcomes of the same {len(ids)} {asked} in each stage"
    return drawing(width, TOP + TALL + 16, label, "".join(body))


def _heading(name: str, x: float, edge: float | None) -> str:
    """Return a stage's name above its bar; the last stage's ends at the drawing's edge."""
    place = f'x="{x:g}"' if edge is None else f'x="{edge:g}" text-anchor="end"'
    return "".join(
        f'<text class="stage" {place} y="{18 + 17 * row}">{line}</text>'
        for row, line in enumerate(name.split(": ", 1))
    )


def _tops(outcomes: Sequence[str]) -> dict[str, float]:
    """Return where each outcome begins in a stage's bar."""
    counts = Counter(outcomes)
    top, found = TOP, {}
    for outcome in OUTCOMES:
        found[outcome] = top
        top += counts[outcome] / len(outcomes) * TALL
    return found


def _bands(
    moves: Counter[tuple[str, str]],
    left: Mapping[str, float],
    right: Mapping[str, float],
    places: Sequence[float],
    count: int,
) -> str:
    start, end = places[0] + BAR, places[1]
    bend = (start + end) / 2
    from_, to = dict(left), dict(right)
    drawn = []
    for one in OUTCOMES:
        for other in OUTCOMES:
            many = moves[one, other]
            if not many:
                continue
            tall = many / count * TALL
            a, b = from_[one], to[other]
            from_[one] += tall
            to[other] += tall
            drawn.append(
                f'<path class="flow fill-{other}" d="M{start:g} {a:.1f}C{bend:g} {a:.1f} {bend:g} '
                f"{b:.1f} {end:g} {b:.1f}L{end:g} {b + tall:.1f}C{bend:g} {b + tall:.1f} {bend:g} "
                f'{a + tall:.1f} {start:g} {a + tall:.1f}Z"><title>{many} of {count}: {one} → '
                f"{other}</title></path>"
            )
    return "".join(drawn)


def _bar(x: float, top: float, many: int, outcome: str, count: int) -> str:
    tall = many / count * TALL
    said = ""
    if tall >= 11:
        said = (
            f'<text class="value" x="{x + BAR + 7:g}" y="{top + tall / 2 + 4:.1f}">{many} '
            f"{outcome}</text>"
        )
    return (
        f'<rect class="fill-{outcome}" x="{x:g}" y="{top:.1f}" width="{BAR}" '
        f'height="{max(tall - 1, 0.5):.1f}" rx="2"/>{said}'
    )

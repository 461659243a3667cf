"""Heat map of influence: clients by rounds, malicious clients first.

A full cell counted, an empty one had no weight in the aggregate, a cross was dropped before it.
"""

from collections.abc import Iterator, Sequence

from fedsafe.report.markup import text
from fedsafe.report.measures import NONE
from fedsafe.report.svg import drawing, marker, rounds_axis
from fedsafe.runs.records import Client, Round

LEFT, TOP, BELOW = 104.0, 8.0, 26.0
WIDTH = 720.0
TOLD = 5000
"""Above this many cells, none carries a text of its own: the page would grow heavy."""


def draw(rounds: Sequence[Round], malicious: frozenset[int]) -> str:
    """Return the map of influence."""
    clients = _ordered(rounds, malicious)
    wide = min(60.0, (WIDTH - LEFT) / max(len(rounds), 1))
    high = 24.0 if len(clients) <= 40 else 12.0
    rows = {client: TOP + index * high for index, client in enumerate(clients)}
    most = max((c.influence or 0.0 for r in rounds for c in r.clients), default=0.0) or 1.0
    told = len(clients) * len(rounds) <= TOLD
    body = [_label(client, rows[client], high, client in malicious) for client in clients]
    for column, record in enumerate(rounds):
        for member in record.clients:
            place = (LEFT + column * wide, rows[member.client])
            body.append(_cell(member, record.round, place, (wide, high), most, told=told))
    height = TOP + len(clients) * high + BELOW
    body.append(_columns(rounds, wide, height - 8))
    said = (
        f"{len(clients)} clients, {len(malicious)} of them malicious, over {len(rounds)} rounds; "
        "the table below has each client's mean."
    )
    return drawing(WIDTH, height, "Influence of each client in each round", "".join(body), said)


def legend() -> str:
    """Return what the cells mean, drawn with the cells themselves."""
    samples = (
        (
            '<rect class="cell fill-honest" x="1" y="1" width="14" height="14" rx="3"/>',
            "honest, counted",
        ),
        (
            '<rect class="cell fill-malicious" x="1" y="1" width="14" height="14" rx="3"/>',
            "malicious, counted",
        ),
        (
            '<rect class="empty" x="1.5" y="1.5" width="13" height="13" rx="3"/>',
            "no weight in the aggregate",
        ),
        (f'<g class="cross">{_cross(8, 8, 4)}</g>', "dropped before it"),
        ('<circle class="gone" cx="8" cy="8" r="2"/>', "no reply"),
    )
    return (
        '<p class="legend">'
        + "".join(
            f'<span class="key"><svg viewBox="0 0 16 16" aria-hidden="true">{drawn}</svg>'
            f"{said}</span>"
            for drawn, said in samples
        )
        + "</p>"
    )


def rows(rounds: Sequence[Round], malicious: frozenset[int]) -> Iterator[list[str]]:
    """Yield the table beside the map: each client's truth and treatment."""
    clients = _ordered(rounds, malicious)
    for number in clients:
        seen = [c for r in rounds for c in r.clients if c.client == number]
        accepted = [c for c in seen if c.status == "accepted"]
        known = [c.influence for c in accepted if c.influence is not None]
        weightless = known.count(0.0)
        yield [
            str(number),
            "malicious" if number in malicious else "honest",
            str(len(seen)),
            str(len(accepted) - weightless),
            str(weightless),
            str(sum(bool(c.reason) for c in accepted)),
            str(len(seen) - len(accepted)),
            f"{sum(known) / len(known):.3f}" if known else NONE,
        ]


def _ordered(rounds: Sequence[Round], malicious: frozenset[int]) -> list[int]:
    """Return all clients ever asked, the malicious first."""
    clients = {client.client for record in rounds for client in record.clients}
    return sorted(clients, key=lambda client: (client not in malicious, client))


def _columns(rounds: Sequence[Round], wide: float, y: float) -> str:
    """Draw the numbers of the rounds."""
    labelled = set(rounds_axis(len(rounds), most=16))
    numbers = "".join(
        f'<text class="tick" x="{LEFT + (column - 0.5) * wide:g}" y="{y:g}" '
        f'text-anchor="middle">{record.round}</text>'
        for column, record in enumerate(rounds, 1)
        if column in labelled
    )
    title = f'<text class="tick" x="{LEFT - 10}" y="{y:g}" text-anchor="end">round</text>'
    return numbers + title


def _label(client: int, y: float, high: float, bad: bool) -> str:
    middle = y + high / 2
    if not bad:
        return (
            f'<text class="tick" x="{LEFT - 10}" y="{middle + 4}" text-anchor="end">'
            f"client {client}</text>"
        )
    sign = marker("square", LEFT - 80, middle, 3.6, "fill-malicious") if high > 16 else ""
    return (
        f'{sign}<text class="tick strong text-malicious" x="{LEFT - 10}" y="{middle + 4}" '
        f'text-anchor="end">client {client}</text>'
    )


def _cell(
    member: Client,
    number: int,
    place: tuple[float, float],
    size: tuple[float, float],
    most: float,
    *,
    told: bool,
) -> str:
    (x, y), (wide, high) = place, size
    gap = 3.0 if wide > 14 and high > 14 else 1.0
    box = (
        f'x="{x + gap / 2:g}" y="{y + gap / 2:g}" width="{wide - gap:g}" '
        f'height="{high - gap:g}" rx="{min(3.0, wide / 6):g}"'
    )
    centre = (x + wide / 2, y + high / 2)
    if member.status == "missing":
        drawn = f'<circle class="gone" cx="{centre[0]:g}" cy="{centre[1]:g}" r="2"/>'
    elif member.status in ("dropped", "failed"):
        drawn = f'<g class="cross">{_cross(*centre, min(4.0, wide / 3))}</g>'
    elif member.influence is None:
        drawn = f'<rect class="cell fill-unknown" fill-opacity="0.4" {box}/>'
    elif member.influence <= 0:
        drawn = f'<rect class="empty{"" if wide > 20 else " small"}" {box}/>'
    else:
        role = "malicious" if member.malicious else "honest"
        strength = 0.25 + 0.75 * member.influence / most
        drawn = f'<rect class="cell fill-{role}" fill-opacity="{strength:.2f}" {box}/>'
    return f"<g><title>{_say(member, number)}</title>{drawn}</g>" if told else drawn


def _say(member: Client, number: int) -> str:
    truth = "malicious" if member.malicious else "honest"
    if member.status != "accepted":
        return f"round {number}, client {member.client} ({truth}): {member.status}"
    share = "not told" if member.influence is None else f"{member.influence:.3f}"
    reason = f", {text(member.reason)}" if member.reason else ""
    return f"round {number}, client {member.client} ({truth}): influence {share}{reason}"


def _cross(x: float, y: float, arm: float) -> str:
    return (
        f'<line x1="{x - arm:g}" y1="{y - arm:g}" x2="{x + arm:g}" y2="{y + arm:g}"/>'
        f'<line x1="{x - arm:g}" y1="{y + arm:g}" x2="{x + arm:g}" y2="{y - arm:g}"/>'
    )

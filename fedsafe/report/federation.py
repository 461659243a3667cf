"""The federation over its rounds: refusal and skills, losses, traffic, time."""

from collections.abc import Iterator, Sequence
from math import isfinite
from statistics import median

from fedsafe.report.bars import stacked
from fedsafe.report.line_chart import Chart, Point, Series, draw
from fedsafe.report.loader import RunData
from fedsafe.report.markup import details, figure, section, table, text
from fedsafe.report.measures import (
    BUILTIN,
    NEW_SKILL,
    NONE,
    OLD_SKILL,
    OVER_REFUSAL,
    REFUSAL,
    Measure,
    duration,
    found,
    size,
)
from fedsafe.report.svg import swatch
from fedsafe.runs.records import Client, Round, Stage

FIRST = (REFUSAL, NEW_SKILL, OLD_SKILL, OVER_REFUSAL)
"""Drawn first; our other measures are folded, those of others are not."""


def over_rounds(run: RunData) -> str:
    """Return refusal and skills after each round, attacked run and clean control."""
    runs = _federations(run)
    measured = _measured(run, runs)
    if not measured:
        lead = "No round has been evaluated" + (" yet." if not run.rounds else " along the way.")
        return section("rounds", "Over the rounds", lead, "")
    lead = (
        "A small evaluation after each round; bands are 95 % intervals. Hollow marks are the "
        "full evaluations before the first round and after a defense of the last round's model. "
        "Point at a round for values."
    )
    keys = [swatch(role, name) for name, role, _ in runs]
    first = run.story.start
    keys += [swatch(first.name, first.name)] if first else []
    several = run.story.defended[1:]
    keys += [
        swatch("defended", f"D{number} {text(run.story.name(s))}" if several else "defended")
        for number, s in enumerate(run.story.defended, 1)
    ]
    folded = [m for m in measured if m not in FIRST and m.key in BUILTIN | {"utility": None}]
    panels = "".join(_panel(run, m, runs) for m in measured if m not in folded)
    body = f'<p class="legend">{"".join(keys)}</p><div class="grid">{panels}</div>'
    if folded:
        rest = "".join(_panel(run, measure, runs) for measure in folded)
        body += details("More measures", f'<div class="grid">{rest}</div>')
    return section("rounds", "Over the rounds", lead, body + _probes(runs, measured))


def _measured(run: RunData, runs: Sequence[tuple[str, str, Sequence[Round]]]) -> list[Measure]:
    """Return every measure of any small evaluation, the usual four first."""
    probes = [record.probe for _, _, rounds in runs for record in rounds if record.probe]
    listed = found([*(stage.scores for stage in run.stages), *probes])
    drawn = [m for m in listed if any(_points(rounds, m) for _, _, rounds in runs)]
    return sorted(drawn, key=lambda m: FIRST.index(m) if m in FIRST else len(FIRST))


def losses(run: RunData) -> str:
    """Return the training losses of honest and malicious clients."""
    groups = [("honest", False), ("malicious", True)]
    series = [
        Series(name, name, points)
        for name, bad in groups
        if (points := list(_losses(run.rounds, malicious=bad)))
    ]
    if not series:
        return ""
    chart = Chart(
        "Training loss over rounds", series, _last(run.rounds), lambda v: f"{v:.3g}", width=700
    )
    note = (
        "Median over clients, as they say; the band runs from the smallest to the largest. What "
        "lies beyond the axis is marked ▲ or ▼, and the table has its value."
    )
    rows = [
        [str(record.round), *(_range(record, malicious=bad) for _, bad in groups)]
        for record in run.rounds
    ]
    beside = details(
        "The same as a table", table(["Round", "Honest", "Malicious"], rows, numbers=(0, 1, 2))
    )
    return figure("Training loss, honest and malicious clients", note, draw(chart)) + beside


def costs(run: RunData) -> str:
    """Return bytes and seconds of each round."""
    if not run.rounds:
        return ""
    unit, named = _unit(max(r.bytes_sent + r.bytes_received for r in run.rounds))
    traffic = [
        (r.round, [("sent", r.bytes_sent / unit), ("received", r.bytes_received / unit)])
        for r in run.rounds
    ]
    times = [(r.round, [("time", r.seconds)]) for r in run.rounds]
    note = f"{_told(run)} {swatch('sent', 'sent')}{swatch('received', 'received')}"
    drawn = figure(
        "Adapter bytes", note, stacked("Bytes a round", traffic, lambda v: f"{v:.3g} {named}")
    )
    spent = f"{duration(sum(r.seconds for r in run.rounds))} in all, evaluation included."
    drawn += figure("Time", spent, stacked("Seconds a round", times, lambda v: f"{v:.3g} s"))
    rows = [
        [
            str(r.round),
            f"{sum(c.status == 'accepted' for c in r.clients)}/{len(r.cohort)}",
            f"{r.learning_rate:.3g}",
            f"{r.update_norm:.4g}",
            size(r.bytes_sent),
            size(r.bytes_received),
            duration(r.seconds),
            f"<code>{text(r.adapter[:12])}</code>",
        ]
        for r in run.rounds
    ]
    headings = ["Round", "Replies", "Learning rate", "Update norm", "Sent", "Received", "Time"]
    beside = details("Every round", table([*headings, "Adapter"], rows, numbers=range(7)))
    return f'<div class="grid">{drawn}</div>{beside}{_each(run)}'


def _told(run: RunData) -> str:
    """Return how much travelled in all, in which format, and what it is for one client."""
    total = sum(r.bytes_sent + r.bytes_received for r in run.rounds)
    said = f"{size(total)} in all, as {text(run.setting('federation.wire', 'float32'))}."
    replies = [c.bytes for r in run.rounds for c in r.clients if c.status == "accepted"]
    asked = [c.bytes_sent / c.asked for r in run.rounds for c in r.clients if c.bytes_sent]
    if not replies or not asked:
        return said
    to, back = size(sum(asked) / len(asked)), size(sum(replies) / len(replies))
    return f"{said} To a client {to} a round, and {back} back."


def _each(run: RunData) -> str:
    """Return the bytes of each client over all rounds, as a table."""
    sums: dict[int, list[int]] = {}
    for client in (c for r in run.rounds for c in r.clients):
        known = sums.setdefault(client.client, [0, 0, 0, 0])
        more = (1, client.asked, client.bytes_sent, client.bytes)
        sums[client.client] = [a + b for a, b in zip(known, more, strict=True)]
    rows = [
        [str(number), str(rounds), str(asked), size(sent) if sent else NONE, size(received)]
        for number, (rounds, asked, sent, received) in sorted(sums.items())
    ]
    headings = ["Client", "Rounds", "Times asked", "Sent to it", "Received from it"]
    return details("Bytes of each client", table(headings, rows, numbers=range(5)))


def _federations(run: RunData) -> list[tuple[str, str, Sequence[Round]]]:
    """Return (name, role, rounds) of each federation that has rounds."""
    attacked = bool(run.malicious) or run.setting("attack") is not None
    main = ("attacked", "attacked") if attacked else ("trained", "clean")
    both = [(*main, run.rounds), ("clean", "clean", run.control)]
    return [entry for entry in both if entry[2]]


def _panel(run: RunData, measure: Measure, runs: Sequence[tuple[str, str, Sequence[Round]]]) -> str:
    story = run.story
    defended = [(s.name, _evaluated(s, measure)) for s in story.defended]
    series = [Series(name, role, _points(rounds, measure)) for name, role, rounds in runs]
    share = measure.is_share and all(0 <= p.y <= 1 for one in series for p in one.points)
    chart = Chart(
        label=f"{text(measure.label)} over rounds",
        series=series,
        rounds=max(_last(rounds) for _, _, rounds in runs),
        say=(lambda v: f"{100 * v:.3g} %") if share else (lambda v: f"{v:.3g}"),
        top=1.0 if share else None,
        start=_evaluated(story.start, measure) if story.start else None,
        before=story.start.name if story.start else "base",
        ends=[(name, point) for name, point in defended if point is not None],
    )
    heading = f"{text(measure.label)} <span>{text(measure.meaning)}</span>"
    return figure(heading, "", draw(chart))


def _points(rounds: Sequence[Round], measure: Measure) -> list[Point]:
    drawn = []
    for record in rounds:
        rate = measure.read(record.probe) if record.probe else None
        if rate is not None and rate.value is not None:
            drawn.append(Point(record.round, rate.value, rate.low, rate.high))
    return drawn


def _evaluated(stage: Stage, measure: Measure) -> Point | None:
    rate = measure.read(stage.scores)
    if rate is None or rate.value is None:
        return None
    return Point(0.0, rate.value, rate.low, rate.high)


def _probes(runs: Sequence[tuple[str, str, Sequence[Round]]], measured: Sequence[Measure]) -> str:
    headings = ["Round", *(f"{text(m.label)}, {name}" for m in measured for name, _, _ in runs)]
    known = {
        (m.key, name, point.x): m.say(point.y)
        for m in measured
        for name, _, rounds in runs
        for point in _points(rounds, m)
    }
    numbers = sorted({record.round for _, _, rounds in runs for record in rounds})
    rows = [
        [str(n), *(known.get((m.key, name, n), NONE) for m in measured for name, _, _ in runs)]
        for n in numbers
    ]
    return details("The same as a table", table(headings, rows, numbers=range(len(headings))))


def _losses(rounds: Sequence[Round], *, malicious: bool) -> Iterator[Point]:
    for record in rounds:
        if known := _known(record.clients, malicious=malicious):
            yield Point(record.round, median(known), min(known), max(known))


def _known(clients: Sequence[Client], *, malicious: bool) -> list[float]:
    return [
        c.loss
        for c in clients
        if c.loss is not None and isfinite(c.loss)
        if c.malicious is malicious and c.status == "accepted"
    ]


def _range(record: Round, *, malicious: bool) -> str:
    known = _known(record.clients, malicious=malicious)
    if not known:
        return NONE
    return f"{median(known):.4g} ({min(known):.4g} to {max(known):.4g})"


def _unit(most: int) -> tuple[int, str]:
    """Return the binary unit in which a number of bytes is best said."""
    units = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
    return next((unit for unit in units if most >= unit[0]), units[-1])


def _last(rounds: Sequence[Round]) -> int:
    return max((record.round for record in rounds), default=1)

"""The federation over its rounds: refusal and skills, losses, traffic, time."""

from collections.abc import Iterator, Sequence

from fedsafe.report.bars import stacked
from fedsafe.report.line_chart import Chart, Point, Series, draw
from fedsafe.report.loader import RunData
from fedsafe.report.markup import details, figure, section, table, text
from fedsafe.report.measures import (
    NEW_SKILL,
    NONE,
    OLD_SKILL,
    OVER_REFUSAL,
    REFUSAL,
    Measure,
    duration,
    percent,
    size,
)
from fedsafe.report.svg import swatch
from fedsafe.runs.records import Client, Round, Stage

PANELS = (REFUSAL, NEW_SKILL, OLD_SKILL, OVER_REFUSAL)


def over_rounds(run: RunData) -> str:
    """Return refusal and skills after each round, attacked run and clean control."""
    runs = _federations(run)
    measured = [m for m in PANELS if any(_points(r, m) for _, _, r in runs)]
    if not measured:
        lead = "No round has been evaluated" + (" yet." if not run.rounds else " along the way.")
        return section("rounds", "Over the rounds", lead, "")
    lead = (
        "A small evaluation after each round; bands are 95 % intervals. Hollow marks are the "
        "full evaluations before the first round and after a defense. Point at a round for values."
    )
    keys = [swatch(role, name) for name, role, _ in runs]
    keys += [swatch("base", "base")] if run.story.base else []
    keys += [swatch("defended", "defended")] if run.story.defended else []
    panels = "".join(_panel(run, measure, runs) for measure in measured)
    body = f'<p class="legend">{"".join(keys)}</p><div class="grid">{panels}</div>'
    return section("rounds", "Over the rounds", lead, body + _probes(runs, measured))


def losses(run: RunData) -> str:
    """Return the training losses of honest and malicious clients."""
    groups = [("honest", False), ("malicious", True)]
    series = [
        Series(name, name, found)
        for name, bad in groups
        if (found := list(_losses(run.rounds, malicious=bad)))
    ]
    if not series:
        return ""
    chart = Chart(
        "Training loss over rounds", series, _last(run.rounds), lambda v: f"{v:.3g}", width=700
    )
    note = "Mean over clients, as they say; the band runs from the smallest to the largest."
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
        found = (1, client.asked, client.bytes_sent, client.bytes)
        sums[client.client] = [a + b for a, b in zip(known, found, strict=True)]
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
    found = [(*main, run.rounds), ("clean", "clean", run.control)]
    return [entry for entry in found if entry[2]]


def _panel(run: RunData, measure: Measure, runs: Sequence[tuple[str, str, Sequence[Round]]]) -> str:
    story = run.story
    defended = [(s.name, _evaluated(s, measure)) for s in story.defended]
    chart = Chart(
        label=f"{measure.label} over rounds",
        series=[Series(name, role, _points(rounds, measure)) for name, role, rounds in runs],
        rounds=max(_last(rounds) for _, _, rounds in runs),
        say=lambda value: f"{100 * value:.3g} %",
        top=1.0,
        start=_evaluated(story.base, measure) if story.base else None,
        ends=[(name, point) for name, point in defended if point is not None],
    )
    return figure(f"{measure.label} <span>{measure.meaning}</span>", "", draw(chart))


def _points(rounds: Sequence[Round], measure: Measure) -> list[Point]:
    found = []
    for record in rounds:
        rate = measure.read(record.probe) if record.probe else None
        if rate is not None and rate.value is not None:
            found.append(Point(record.round, rate.value, rate.low, rate.high))
    return found


def _evaluated(stage: Stage, measure: Measure) -> Point | None:
    rate = measure.read(stage.scores)
    if rate is None or rate.value is None:
        return None
    return Point(0.0, rate.value, rate.low, rate.high)


def _probes(runs: Sequence[tuple[str, str, Sequence[Round]]], measured: Sequence[Measure]) -> str:
    headings = ["Round", *(f"{m.label}, {name}" for m in measured for name, _, _ in runs)]
    known = {
        (m.key, name, point.x): percent(point.y)
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
            yield Point(record.round, sum(known) / len(known), min(known), max(known))


def _known(clients: Sequence[Client], *, malicious: bool) -> list[float]:
    return [
        c.loss
        for c in clients
        if c.loss is not None and c.malicious is malicious and c.status == "accepted"
    ]


def _range(record: Round, *, malicious: bool) -> str:
    known = _known(record.clients, malicious=malicious)
    if not known:
        return NONE
    return f"{sum(known) / len(known):.4g} ({min(known):.4g} to {max(known):.4g})"


def _unit(most: int) -> tuple[int, str]:
    """Return the binary unit in which a number of bytes is best said."""
    units = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
    return next((unit for unit in units if most >= unit[0]), units[-1])


def _last(rounds: Sequence[Round]) -> int:
    return max((record.round for record in rounds), default=1)

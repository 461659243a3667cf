"""The top of the report: the verdict, the stages, every measure with its interval."""

import re
from collections.abc import Iterator

from fedsafe.report import sankey
from fedsafe.report.bars import share
from fedsafe.report.loader import RunData
from fedsafe.report.markup import details, figure, pairs, section, table, text
from fedsafe.report.measures import (
    MEASURES,
    NEW_SKILL,
    OVER_REFUSAL,
    REFUSAL,
    Measure,
    duration,
    interval,
    percent,
    points,
)
from fedsafe.report.verdict import sentence, title
from fedsafe.runs.records import Rate, Stage

ROLES = {"base": "base", "clean": "clean", "trained": "clean", "attacked": "attacked"}


def role(stage: Stage) -> str:
    """Return the class that gives a stage its color."""
    return ROLES.get(stage.name, "defended")


def masthead(run: RunData) -> str:
    """Return the title, the state of the run and the verdict."""
    status = "unfinished" if run.summary is None else run.summary.status
    reason = run.summary.reason if run.summary is not None else ""
    failed = (
        f'<p class="alarm" role="status"><b>{text(status.capitalize())}.</b> {text(reason)}</p>'
    )
    verdict = re.sub(
        r"(\d+\.\d (?:points|%))", r"<strong>\1</strong>", text(sentence(run.stages))
    ).replace(" %", "\u00a0%")
    return (
        f'<header><p class="eyebrow">FedSafe <span class="pill {status}">{status}</span></p>'
        f"<h1>{text(run.name)}</h1>{failed if reason else ''}"
        f'<p class="verdict">{verdict}</p>{pairs(_facts(run))}</header>'
    )


def before_after(run: RunData) -> str:
    """Return the stages side by side."""
    if not run.stages:
        lead = "No model has been evaluated yet. This page can be drawn again at any time."
        return section("before-after", "Before and after", lead, "")
    lead = (
        "Refusal of harmful prompts is what an attack takes and a defense returns; usefulness "
        "and over-refusal say at what price."
    )
    cards = "".join(_card(run, stage) for stage in run.stages)
    body = f'<div class="cards">{cards}</div>{_measures(run.stages)}{_moved(run)}'
    return section("before-after", "Before and after", lead, body)


def _facts(run: RunData) -> Iterator[tuple[str, str]]:
    """Yield what the run was, in a few words."""
    clients, rounds = run.setting("federation.clients", 10), run.setting("federation.rounds", 10)
    sampled = run.setting("federation.sampled") or clients
    yield "Federation", f"{text(clients)} clients, {text(sampled)} a round, {text(rounds)} rounds"
    yield "Strategy", text(run.setting("federation.strategy.name", "mean"))
    malicious = run.setting("attack.malicious")
    if malicious is None:
        yield "Attack", "none"
    else:
        behaviour = text(run.setting("attack.behaviour.name", "poisoned-data"))
        yield "Attack", f"{text(malicious)} malicious, {behaviour}"
    yield "Model", text(run.setting("model.path", "micro"))
    if run.provenance is not None:
        yield "Started", text(run.provenance.started.replace("T", " ").replace("+00:00", " UTC"))
    if run.summary is not None and run.summary.seconds:
        yield "Took", duration(run.summary.seconds)


def _card(run: RunData, stage: Stage) -> str:
    rate = REFUSAL.read(stage.scores)
    value = percent(None if rate is None else rate.value).replace(" %", "<small>\u202f%</small>")
    against, change = _change(run, stage)
    delta = f'<p class="delta {change}">{against}</p>' if against else '<p class="delta">&nbsp;</p>'
    side = " · ".join(
        f"{measure.label.lower()} {percent(found.value)}".replace(" ", "\u00a0")
        for measure in (NEW_SKILL, OVER_REFUSAL)
        if (found := measure.read(stage.scores)) is not None
    )
    return (
        f'<article class="card edge-{role(stage)}"><h3>{text(title(stage.name))}</h3>'
        f'<p class="big">{value}</p><p class="unit">of harmful prompts refused</p>{delta}'
        f'<p class="side">{side}</p></article>'
    )


def _change(run: RunData, stage: Stage) -> tuple[str, str]:
    """Return how refusal moved against the stage it is measured against."""
    story = run.story
    other = {"clean": story.base, "attacked": story.before, "trained": story.base}.get(stage.name)
    if stage in story.defended:
        other = story.trained
    now, then = REFUSAL.read(stage.scores), REFUSAL.read(other.scores) if other else None
    if other is None or now is None or then is None or now.value is None or then.value is None:
        return "", ""
    moved = now.value - then.value
    kind = "level" if _overlap(now, then) else "up" if moved > 0 else "down"
    return f"{points(moved)} against {other.name}", kind


def _overlap(one: Rate, other: Rate) -> bool:
    """Tell whether two intervals share a point, so that no color should cry difference."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


def _measures(stages: list[Stage]) -> str:
    shown = [m for m in MEASURES if any(m.read(s.scores) is not None for s in stages)]
    headings = ["Measure", *(text(title(stage.name)) for stage in stages)]
    rows = [[_named(measure), *(_cell(stage, measure) for stage in stages)] for measure in shown]
    rows.append(["Time to make it", *(duration(stage.seconds or None) for stage in stages)])
    return (
        '<div class="measures">'
        + table(
            headings,
            rows,
            caption="Each share with its 95 % interval and the number of judged replies; "
            "↑ more is better, ↓ less is better.",
        )
        + "</div>"
    )


def _named(measure: Measure) -> str:
    arrow = "↑" if measure.better == "higher" else "↓"
    return f'{measure.label} {arrow}<span class="meaning">{measure.meaning}</span>'


def _cell(stage: Stage, measure: Measure) -> str:
    rate = measure.read(stage.scores)
    if rate is None:
        return '<span class="none">not measured</span>'
    topic = ""
    if measure.key == "worst_topic_unsafe" and stage.scores.worst_topic:
        topic = f", {text(stage.scores.worst_topic)}"
    return (
        f'<span class="value">{percent(rate.value)}</span>{share(rate, role(stage))}'
        f'<span class="meaning">{_resting(rate)}{topic}</span>'
    )


def _resting(rate: Rate) -> str:
    """Say what a share rests on."""
    bounds = interval(rate)
    parts = [f"{bounds}" if bounds else "", f"n {rate.n}"]
    parts.append(f'<b class="unknown">{rate.unknown} unknown</b>' if rate.unknown else "")
    return " · ".join(part for part in parts if part)


def _moved(run: RunData) -> str:
    """Draw what became of each harmful prompt, where the exchanges are there."""
    stages = []
    for stage in run.stages:
        found = {
            str(row.get("id")): outcome
            for row in run.exchanges(stage)
            if row.get("purpose") == "harmful" and not row.get("prefilled")
            if (outcome := str(row.get("outcome"))) in sankey.OUTCOMES
        }
        if found:
            stages.append((text(title(stage.name)), found))
    drawn = sankey.draw(stages) if len(stages) > 1 else ""
    if not drawn:
        return ""
    note = (
        "The same prompts in every stage; a band is as thick as the prompts it stands for, in the "
        "color of where they went."
    )
    return figure("What became of each harmful prompt", note, drawn, wide=True) + details(
        "The same as a table", _counts(stages)
    )


def _counts(stages: list[tuple[str, dict[str, str]]]) -> str:
    rows = [
        [outcome, *(str(list(found.values()).count(outcome)) for _, found in stages)]
        for outcome in sankey.OUTCOMES
    ]
    return table(["Outcome", *(n for n, _ in stages)], rows, numbers=range(1, len(stages) + 1))

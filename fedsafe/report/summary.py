"""The top of the report: the verdict, the stages, every measure with its interval."""

import re
from collections.abc import Iterator

from fedsafe.report.acceptance import held
from fedsafe.report.bars import share
from fedsafe.report.caveats import caveats
from fedsafe.report.defenses import contamination
from fedsafe.report.loader import RunData
from fedsafe.report.markup import details, pairs, section, table, text
from fedsafe.report.measure_notes import notes
from fedsafe.report.measures import (
    NEW_SKILL,
    OVER_REFUSAL,
    Measure,
    called,
    difference,
    duration,
    interval,
    part_named,
    percent,
    points,
    under,
)
from fedsafe.report.outcomes import moved
from fedsafe.report.roles import role
from fedsafe.report.verdict import refusal, sentence
from fedsafe.runs.records import Rate, Stage
from fedsafe.runs.scores import SHIELDED


def masthead(run: RunData) -> str:
    """Return the title, the state of the run and the verdict."""
    status = "unfinished" if run.summary is None else run.summary.status
    reason = run.summary.reason if run.summary is not None else ""
    failed = (
        f'<p class="alarm" role="status"><b>{text(status.capitalize())}.</b> {text(reason)}</p>'
    )
    verdict = re.sub(
        r"(\d+\.\d (?:points|%))", r"<strong>\1</strong>", text(sentence(run.stages, run.defenses))
    )
    verdict = re.sub(r"(\[[\d.–]+\])", r'<span class="bounds">\1</span>', verdict)  # noqa: RUF001
    verdict = verdict.replace(" %", "\u00a0%")
    brackets = '<p class="note">Brackets are 95 % intervals.</p>' if '"bounds"' in verdict else ""
    return (
        f'<header><p class="eyebrow">FedSafe <span class="pill {status}">{status}</span></p>'
        f"<h1>{text(run.name)}</h1>{failed if reason else ''}"
        f'<p class="verdict">{verdict}</p>{brackets}{_caveats(run)}'
        f"{pairs(_facts(run))}</header>"
    )


def _caveats(run: RunData) -> str:
    return "".join(f'<p class="note">{text(one)}</p>' for one in caveats(run.stages))


def before_after(run: RunData) -> str:
    """Return the stages side by side."""
    if not run.stages:
        lead = "No model has been evaluated yet. This page can be drawn again at any time."
        return section("before-after", "Before and after", lead, "")
    lead = (
        f"Refusal of {text(run.story.asked)} is what an attack takes and a defense returns; "
        "usefulness and over-refusal say at what price."
    )
    cards = "".join(_card(run, stage) for stage in run.stages)
    body = f'<div class="cards">{cards}</div>{_measures(run)}{_parts(run)}{moved(run)}{held(run)}'
    return section("before-after", "Before and after", lead, body + _failed(run))


def _failed(run: RunData) -> str:
    """Return which defenses failed, and why."""
    return "".join(
        f'<p class="alarm"><b>{text(run.story.name(stage))} failed.</b> {text(stage.reason)}</p>'
        for stage in run.failed
    )


def heading(run: RunData, stage: Stage) -> str:
    """Return a stage's heading, with the settings in which it differs from its likes."""
    if stage.status == "failed":
        name, settings = f"Defended: {run.story.name(stage)}", "failed: counted as what it left"
    else:
        name, settings = run.titles[stage.name]
    return text(name) + (f'<span class="meaning">{text(settings)}</span>' if settings else "")


def _facts(run: RunData) -> Iterator[tuple[str, str]]:
    """Yield what the run was, in a few words."""
    clients, rounds = run.setting("federation.clients", 10), run.setting("federation.rounds", 10)
    sampled = run.setting("federation.sampled") or clients
    trained = run.story.trained
    stop = trained.early_stop if trained is not None else None
    ran = f"{stop.round} of {text(rounds)} rounds" if stop else f"{text(rounds)} rounds"
    yield "Federation", f"{text(clients)} clients, {text(sampled)} a round, {ran}"
    yield "Strategy", text(run.setting("federation.strategy.name", "mean"))
    malicious = run.setting("attack.malicious")
    if malicious is None:
        yield "Attack", "none"
    else:
        behaviour = text(run.setting("attack.behaviour.name", "poisoned-data"))
        yield "Attack", f"{text(malicious)} malicious, {behaviour}"
    yield "Model", text(run.setting("model.path", "micro"))
    judges = dict.fromkeys(stage.scores.judge or stage.judge for stage in run.stages)
    if named := [judge for judge in judges if judge]:
        yield "Judged by", text(", ".join(named))
    if run.provenance is not None:
        yield "Started", text(run.provenance.started.replace("T", " ").replace("+00:00", " UTC"))
    if run.summary is not None and run.summary.seconds:
        yield "Took", duration(run.summary.seconds)


def _card(run: RunData, stage: Stage) -> str:
    rate = refusal(stage)
    value = percent(None if rate is None else rate.value).replace(" %", "<small>\u202f%</small>")
    held = interval(rate) if rate is not None else ""
    bounds = f' · <span class="whole">{held}</span>' if held else ""
    asked = text(run.story.asked)
    served = ", shielded" if stage.scores.rate("refusal", SHIELDED) is not None else ""
    against, change = _change(run, stage)
    delta = f'<p class="delta {change}">{against}</p>' if against else '<p class="delta">&nbsp;</p>'
    side = [
        f"{measure.label.lower()} {percent(found.value)}"
        for measure in (NEW_SKILL, OVER_REFUSAL)
        if (found := measure.read(stage.scores)) is not None
    ]
    side += [
        f"unsafe, {text(called(condition, stage.scores))} {percent(found.value)}"
        for condition, found in under(stage.scores, "unsafe")
    ]
    beside = " · ".join(f'<span class="whole">{part}</span>' for part in side)
    return (
        f'<article class="card edge-{role(stage)}"><h3>{heading(run, stage)}</h3>'
        f'<p class="big">{value}</p><p class="unit">of {asked} refused{served}{bounds}</p>'
        f'{delta}<p class="side">{beside}</p>{_contamination(run, stage)}</article>'
    )


def _contamination(run: RunData, stage: Stage) -> str:
    """Return how much of the data made for an attack or a defense is like evaluation prompts."""
    if stage.overlap is not None:
        return f'<p class="side">Its data: {text(stage.overlap.said)}</p>'
    card = run.card(stage)
    if card is None:
        return ""
    counted = contamination(card)
    said = " · ".join(f"{text(what)} <b>{many}</b>" for what, many in counted)
    return f'<p class="side">Its data: {said or "likeness to evaluation prompts not counted"}</p>'


def _change(run: RunData, stage: Stage) -> tuple[str, str]:
    """Return how refusal moved against the stage it is measured against."""
    story = run.story
    other = {
        "aligned": story.base,
        "clean": story.start,
        "attacked": story.before,
        "trained": story.start,
    }.get(stage.name)
    if stage in story.defended:
        other = story.trained
    now, then = refusal(stage), refusal(other)
    if other is None or now is None or then is None or now.value is None or then.value is None:
        return "", ""
    amount = now.value - then.value
    bounds = difference(now, then)
    level = bounds is not None and bounds[1] <= 0 <= bounds[2]
    kind = "level" if level else "up" if amount > 0 else "down"
    return f"{points(amount)} against {other.name}", kind


def _measures(run: RunData) -> str:
    headings = ["Measure", *(heading(run, stage) for stage in run.counted)]
    rows = [
        [_named(measure), *(_cell(stage, measure) for stage in run.counted)]
        for measure in run.measures
    ]
    spent = [duration(stage.seconds or None) for stage in run.counted]
    rows.append(["Time to make it", *spent])
    caption = (
        "Each value with its 95 % interval and the number of judged replies; "
        "↑ more is better, ↓ less is better."
    )
    return f'<div class="measures">{table(headings, rows, caption=caption)}</div>{notes(run)}'


def _named(measure: Measure) -> str:
    return (
        f'{text(measure.label)}{measure.arrow}<span class="meaning">{text(measure.meaning)}</span>'
    )


def _cell(stage: Stage, measure: Measure) -> str:
    rate = measure.read(stage.scores)
    if rate is None:
        return '<span class="none">not measured</span>'
    worst = part_named(rate) if rate.value else ""
    bar = share(rate, measure.goodness(rate.value)) if measure.is_share else ""
    return (
        f'<div class="held"><span class="value">{measure.say(rate.value)}</span>{bar}'
        f'<span class="meaning">{_resting(measure, rate)}{f", {text(worst)}" if worst else ""}'
        "</span></div>"
    )


def _resting(measure: Measure, rate: Rate) -> str:
    """Say what a value rests on."""
    clustered = f"{said} in {rate.clusters} clusters" if (said := measure.clustered(rate)) else ""
    parts = [measure.interval(rate), clustered, f"n {rate.n}"]
    parts.append(f'<b class="unknown">{rate.unknown} unknown</b>' if rate.unknown else "")
    return " · ".join(part for part in parts if part)


def _parts(run: RunData) -> str:
    """Return the values by group, such as topic or skill, folded."""
    rows = []
    for measure in run.measures:
        rates = [measure.read(stage.scores) for stage in run.stages]
        groups = sorted({group for rate in rates if rate is not None for group in rate.parts})
        for group in groups:
            cells = [_part(measure, rate, group) for rate in rates]
            rows.append([f"{text(measure.label)}: {text(group)}", *cells])
    if not rows:
        return ""
    headings = ["Measure and group", *(heading(run, stage) for stage in run.stages)]
    return details("By group", table(headings, rows, numbers=range(1, len(headings))))


def _part(measure: Measure, rate: Rate | None, group: str) -> str:
    part = rate.parts.get(group) if rate is not None else None
    if part is None:
        return '<span class="none">not measured</span>'
    return f'{measure.say(part.value)} <span class="meaning">{_resting(measure, part)}</span>'

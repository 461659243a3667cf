"""HTML page of a comparison of runs: settings, paired tests, flipped prompts."""

from collections.abc import Iterator
from pathlib import Path

from fedsafe.report import comparison_texts as texts
from fedsafe.report.markup import details, section, table, text
from fedsafe.report.page import document
from fedsafe.runs.comparison_records import Comparison, Flip, StagePair
from fedsafe.runs.files import write_text

MOST_FLIPS = 2000
"""Flipped prompts of two stages that the page lists; all are in the JSON."""


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write the page.

    Raises:
        RunError: There is no room for it.
    """
    write_text(path, render_comparison(comparison))


def render_comparison(comparison: Comparison) -> str:
    """Return the page; prompts and replies are in it only if the record holds them."""
    differing = [
        (f"pair-{n}", pair)
        for n, pair in enumerate(comparison.pairs, 1)
        if not pair.unchanged or pair.flips
    ]
    parts = [_settings(comparison)]
    parts += [_pair(comparison, pair, anchor) for anchor, pair in differing]
    links = '<a href="#settings">Settings</a>' + "".join(
        f'<a href="#{anchor}">{text(texts.title(pair))}</a>' for anchor, pair in differing
    )
    names = " and ".join(run.label for run in comparison.runs)
    return document(f"Comparison of {names}", links, _head(comparison) + "".join(parts))


def _head(comparison: Comparison) -> str:
    said = "".join(f'<p class="verdict">{text(one)}</p>' for one in texts.verdict(comparison))
    alarms = "".join(f'<p class="alarm">{text(one)}</p>' for one in comparison.warnings)
    revealed = (
        '<p class="alarm"><b>Revealed: this page may hold harmful text.</b> Do not pass it on '
        "carelessly.</p>"
        if comparison.revealed
        else ""
    )
    runs = [
        [run.label, f"<code>{text(run.directory)}</code>", text(texts.who(run))]
        for run in comparison.runs
    ]
    return (
        f'<header><p class="eyebrow">FedSafe</p><h1>Comparison of {len(comparison.runs)} runs</h1>'
        f"{said}{alarms}{revealed}{table(['Side', 'Run', 'Experiment'], runs)}"
        f'<p class="note">{text(texts.EXPLAINED)}</p></header>'
    )


def _settings(comparison: Comparison) -> str:
    labels = [run.label for run in comparison.runs]
    body = ""
    for name, found in (
        ("Settings", comparison.settings),
        ("Environment", comparison.environment),
    ):
        if found:
            rows = [
                [f"<code>{text(path)}</code>", *(text(value) for value in values)]
                for path, *values in texts.rows(found)
            ]
            body += table([name, *labels], rows, caption=f"{name}: what is not the same in all")
        else:
            body += f'<p class="note">{name}: no difference.</p>'
    body += "".join(
        f'<p class="note">{text(texts.title(pair))}: {text(texts.counted(pair))}.</p>'
        for pair in comparison.pairs
        if pair.unchanged
    )
    return section("settings", "What differs", "", body)


def _pair(comparison: Comparison, pair: StagePair, anchor: str) -> str:
    said = texts.counted(pair)
    lead = f"{said[:1].upper()}{said[1:]}."
    changed, same = texts.moved(pair)
    body = ""
    if changed:
        rows = []
        for change in changed:
            measure = texts.measure_of(comparison, change.measure)
            cells = [*texts.values(measure, change), *texts.tested(measure, change)]
            name = f'{text(measure.label)}{measure.arrow}<span class="meaning">'
            name += f"{text(measure.meaning)}</span>"
            rows.append([name, *map(text, cells)])
            if texts.is_sure(change):
                rows[-1][3] = f"<strong>{rows[-1][3]}</strong>"
        headings = ["Measure", text(pair.first), text(pair.second), *texts.HEADINGS]
        body += table(headings, rows, numbers=range(1, len(headings)))
    if same and not pair.unchanged:
        labels = "; ".join(texts.measure_of(comparison, one.measure).label for one in same)
        body += f'<p class="note">Unchanged on every prompt: {text(labels)}.</p>'
    return section(anchor, text(texts.title(pair)), text(lead), body + _flips(pair, comparison))


def _flips(pair: StagePair, comparison: Comparison) -> str:
    if not pair.flips:
        return ""
    seeded = len({flip.seed for flip in pair.flips}) > 1
    headings = ["Prompt", *(["Seed"] if seeded else []), "Asked as", "Topic", "Before", "After"]
    rows = []
    for flip in pair.flips[:MOST_FLIPS]:
        cells = [f"<code>{text(flip.prompt)}</code>", *([str(flip.seed)] if seeded else [])]
        cells += [text(texts.kind(flip, comparison)), text(flip.topic), *_outcomes(flip)]
        rows.append([*cells, text(texts.direction(flip))])
    more = len(pair.flips) - MOST_FLIPS
    note = f'<p class="note">And {more} more, in the JSON.</p>' if more > 0 else ""
    heading = f"<h3>Prompts that flipped: {len(pair.flips)}</h3>"
    body = table([*headings, "Change"], rows) + note
    return heading + body + "".join(_words(pair.flips[:MOST_FLIPS]))


def _outcomes(flip: Flip) -> Iterator[str]:
    colors = {True: ("bad", "good"), False: ("good", "bad"), None: ("unknown", "unknown")}
    for color, outcome in zip(colors[flip.better], (flip.before, flip.after), strict=True):
        yield f'<span class="chip {color}">{text(outcome)}</span>'


def _words(flips: list[Flip]) -> Iterator[str]:
    """Yield the words of each flipped prompt, folded, where they are revealed."""
    for flip in flips:
        if flip.replies is None:
            continue
        told = zip(("Before", "After"), flip.replies, strict=True)
        replies = "".join(
            f'<h4>{name}</h4><blockquote dir="auto">{text(reply)}</blockquote>'
            for name, reply in told
        )
        asked = f'<blockquote class="asked" dir="auto">{text(flip.instruction or "")}</blockquote>'
        yield details(f"Words of <code>{text(flip.prompt)}</code>", asked + replies)

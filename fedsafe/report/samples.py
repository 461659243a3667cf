"""Sample exchanges: what was asked and how it ended; the words only when revealed.

The sample is taken at even distances, never by outcome.
"""

from collections.abc import Sequence

from fedsafe.report.loader import Exchange, RunData
from fedsafe.report.markup import details, section, table, text
from fedsafe.runs.scores import PLAIN

PURPOSES = {
    "over-refusal": "Harmless look-alikes",
    "benign": "Harmless",
    "utility": "Utility",
}
SKILLS = {"new": "New skill", "old": "Old skill"}
EACH = 6
"""Prompts shown of each kind."""

Key = tuple[str, str]
"""Id of a prompt, and condition under which it was asked."""
Kind = tuple[str, str, str]
"""Condition, purpose and skill."""


def samples(run: RunData, *, reveal: bool) -> str:
    """Return a few prompts of each kind with their outcome in every stage."""
    stages = [(s, {_key(row): row for row in run.exchanges(s)}) for s in run.stages]
    stages = [(stage, found) for stage, found in stages if found]
    if not stages:
        return ""
    names = [_named(run, stage.name) for stage, _ in stages]
    rows = [found for _, found in stages]
    body = ""
    for kind in _kinds(rows):
        keys = _chosen(rows, kind)
        body += f"<h3>{text(_heading(kind, run))}</h3>" + _outcomes(keys, names, rows)
        if reveal:
            body += "".join(_words(key, names, rows) for key in keys)
    lead = "A few prompts of each kind, taken at even distances and never by outcome. " + (
        "<b>Revealed: this page holds harmful text.</b> Do not pass it on carelessly."
        if reveal
        else "Prompts and replies are withheld: only outcome and length are shown. "
        "<code>fedsafe report RUN --reveal</code> writes them to a separate file."
    )
    return section("exchanges", "Sample exchanges", lead, body)


def _named(run: RunData, stage: str) -> str:
    name, settings = run.titles[stage]
    return text(f"{name} ({settings})" if settings else name)


def _key(row: Exchange) -> Key:
    return str(row.get("id")), str(row.get("condition"))


def _kind(row: Exchange) -> Kind:
    return str(row.get("condition")), str(row.get("purpose")), str(row.get("skill") or "")


def _kinds(stages: Sequence[dict[Key, Exchange]]) -> list[Kind]:
    """Return every kind that was asked, plain ones first, then in the order of the files."""
    found = list(dict.fromkeys(_kind(row) for rows in stages for row in rows.values()))
    return sorted(found, key=lambda kind: kind[0] != PLAIN)


def purpose_named(purpose: str, asked: str) -> str:
    """Return what prompts of a purpose are, as a heading."""
    return PURPOSES.get(purpose, purpose) if purpose != "harmful" else asked.capitalize()


def _heading(kind: Kind, run: RunData) -> str:
    condition, purpose, skill = kind
    heading = purpose_named(purpose, run.story.asked)
    if purpose == "utility" and skill:
        heading = SKILLS.get(skill, f"Utility, {skill}")
    return heading if condition == PLAIN else f"{heading}, {run.called(condition)}"


def _chosen(stages: Sequence[dict[Key, Exchange]], kind: Kind) -> list[Key]:
    """Return prompts of a kind at even distances, over all stages in which they occur."""
    known = sorted({key for found in stages for key, row in found.items() if _kind(row) == kind})
    count = min(EACH, len(known))
    return [known[index * len(known) // count] for index in range(count)]


def _outcomes(
    keys: Sequence[Key], names: Sequence[str], stages: Sequence[dict[Key, Exchange]]
) -> str:
    rows = [
        [f"<code>{text(key[0])}</code>", *(_outcome(found.get(key)) for found in stages)]
        for key in keys
    ]
    return table(["Prompt", *names], rows)


def _outcome(row: Exchange | None) -> str:
    if row is None:
        return '<span class="none">not asked</span>'
    outcome = str(row.get("outcome"))
    correct = row.get("correct")
    right = "" if correct is None else "right" if correct is True else "wrong"
    length = len(str(row.get("reply", "")))
    told = f"{right}, {length} characters" if right else f"{length} characters"
    chip = f'<span class="chip {outcome_class(row, outcome)}">{text(outcome)}</span>'
    return f'<span class="held">{chip} <span class="meaning">{told}</span></span>'


def outcome_class(row: Exchange, outcome: str) -> str:
    """Return the class of an outcome: the same word is good for one purpose, bad for another."""
    if outcome not in {"refuse", "comply"}:
        return "garbage" if outcome == "garbage" else "unknown"
    if row.get("correct") is not None:
        return "good" if row.get("correct") is True else "bad"
    wanted = "refuse" if row.get("purpose") == "harmful" else "comply"
    return "good" if outcome == wanted else "bad"


def _words(key: Key, names: Sequence[str], stages: Sequence[dict[Key, Exchange]]) -> str:
    """Return the words of one prompt's exchanges, folded."""
    known = [(name, found[key]) for name, found in zip(names, stages, strict=True) if key in found]
    asked = text(known[0][1].get("instruction", ""))
    replies = "".join(
        f'<h4>{name} {_outcome(row)}</h4><blockquote dir="auto">{text(row.get("reply", ""))}'
        f"</blockquote>{_raw(row)}"
        for name, row in known
    )
    body = f'<blockquote class="asked" dir="auto">{asked}</blockquote>{replies}'
    return details(f"Words of <code>{text(key[0])}</code>", body)


def _raw(row: Exchange) -> str:
    raw = row.get("raw")
    return f'<p class="note">Judge: {text(raw)}</p>' if raw else ""

"""Sample exchanges: what was asked and how it ended; the words only when revealed.

The sample is taken at even distances, never by outcome.
"""

from collections.abc import Sequence

from fedsafe.report.loader import Exchange, RunData
from fedsafe.report.markup import details, section, table, text
from fedsafe.report.verdict import title

KINDS = (
    ("harmful", "", False, "Harmful"),
    ("harmful", "", True, "Harmful, prefilled"),
    ("over-refusal", "", False, "Harmless look-alikes"),
    ("utility", "new", False, "New skill"),
    ("utility", "old", False, "Old skill"),
)
EACH = 6
"""Prompts shown of each kind."""


def samples(run: RunData, *, reveal: bool) -> str:
    """Return a few prompts of each kind with their outcome in every stage."""
    stages = [(s, {_key(row): row for row in run.exchanges(s)}) for s in run.stages]
    stages = [(stage, found) for stage, found in stages if found]
    if not stages:
        return ""
    names = [text(title(stage.name)) for stage, _ in stages]
    body = ""
    for *kind, heading in KINDS:
        keys = _chosen([found for _, found in stages], kind)
        if keys:
            body += f"<h3>{heading}</h3>" + _outcomes(keys, names, [f for _, f in stages])
            if reveal:
                body += "".join(_words(key, names, [f for _, f in stages]) for key in keys)
    lead = "A few prompts of each kind, taken at even distances and never by outcome. " + (
        "<b>Revealed: this page holds harmful text.</b> Do not pass it on carelessly."
        if reveal
        else "Prompts and replies are withheld: only outcome and length are shown. "
        "<code>fedsafe report RUN --reveal</code> writes them to a separate file."
    )
    return section("exchanges", "Sample exchanges", lead, body)


def _key(row: Exchange) -> tuple[str, bool]:
    return str(row.get("id")), bool(row.get("prefilled"))


def _chosen(
    stages: Sequence[dict[tuple[str, bool], Exchange]], kind: Sequence[object]
) -> list[tuple[str, bool]]:
    """Return prompts of a kind at even distances, over all stages in which they occur."""
    purpose, skill, prefilled = kind
    known = sorted(
        {
            key
            for found in stages
            for key, row in found.items()
            if row.get("purpose") == purpose
            and key[1] is prefilled
            and (not skill or row.get("skill") == skill)
        }
    )
    count = min(EACH, len(known))
    return [known[index * len(known) // count] for index in range(count)]


def _outcomes(
    keys: Sequence[tuple[str, bool]],
    names: Sequence[str],
    stages: Sequence[dict[tuple[str, bool], Exchange]],
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
    chip = f'<span class="chip {_kind(row, outcome)}">{text(outcome)}</span>'
    return f'{chip} <span class="meaning">{told}</span>'


def _kind(row: Exchange, outcome: str) -> str:
    """Return the class of an outcome: the same word is good for one purpose, bad for another."""
    if outcome not in {"refuse", "comply"}:
        return "garbage" if outcome == "garbage" else "unknown"
    if row.get("correct") is not None:
        return "good" if row.get("correct") is True else "bad"
    wanted = "refuse" if row.get("purpose") == "harmful" else "comply"
    return "good" if outcome == wanted else "bad"


def _words(
    key: tuple[str, bool],
    names: Sequence[str],
    stages: Sequence[dict[tuple[str, bool], Exchange]],
) -> str:
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

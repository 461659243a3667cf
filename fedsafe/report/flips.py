"""Flips section of the report: prompts whose outcome is not the same in every stage.

The page's script lets two stages be picked; without it the table holds all of them.
"""

from collections.abc import Sequence

from fedsafe.report.loader import Exchange, RunData
from fedsafe.report.markup import section, table, text
from fedsafe.report.samples import outcome_class, purpose_named
from fedsafe.runs.records import Stage
from fedsafe.runs.scores import PLAIN

MOST = 1000
"""Prompts that the table lists."""
HEADINGS = ("Prompt", "Asked as", "Topic")

Asked = tuple[str, str]
"""Id of a prompt, and condition under which it was asked."""


def flips(run: RunData) -> str:
    """Return the table of prompts that two stages or more answered otherwise; empty: none."""
    stages = [(stage, rows) for stage in run.stages if (rows := _outcomes(run, stage))]
    if len(stages) < 2:
        return ""
    found = [rows for _, rows in stages]
    keys = dict.fromkeys(key for one in found for key in one)
    flipped = [key for key in keys if len({_said(one[key]) for one in found if key in one}) > 1]
    if not flipped:
        return ""
    names = [_named(run, stage) for stage, _ in stages]
    cells = [_row(key, found, run) for key in flipped[:MOST]]
    more = len(flipped) - MOST
    note = f'<p class="note">And {more} more; `fedsafe compare` lists all.</p>' if more > 0 else ""
    lead = (
        "Prompts that two stages answered otherwise, by id; of skills, whether the answer was "
        "right."
    )
    first, last = _picked(run, [stage.name for stage, _ in stages])
    data = {"stages": len(HEADINGS)}
    data |= {"from": len(HEADINGS) + first, "to": len(HEADINGS) + last}
    body = table([*HEADINGS, *names], cells, data=data) + note
    return section("flips", "What flipped", lead, body)


def _picked(run: RunData, names: Sequence[str]) -> tuple[int, int]:
    """Return the places of the two stages that are shown first: before and after the attack."""
    story = run.story
    places = [
        names.index(stage.name)
        for stage in (story.before, story.trained, story.best)
        if stage is not None and stage.name in names
    ]
    return (places[0], places[1]) if len(places) > 1 else (0, len(names) - 1)


def _outcomes(run: RunData, stage: Stage) -> dict[Asked, Exchange]:
    rows = run.exchanges(stage)
    return {(str(r.get("id")), str(r.get("condition"))): r for r in rows if r.get("outcome")}


def _named(run: RunData, stage: Stage) -> str:
    name, settings = run.titles[stage.name]
    return text(f"{name} ({settings})" if settings else name)


def _said(row: Exchange) -> str:
    """Return the outcome; of a skill that was answered, right or wrong."""
    outcome = str(row.get("outcome"))
    if row.get("purpose") != "utility" or outcome != "comply" or row.get("correct") is None:
        return outcome
    return "right" if row["correct"] is True else "wrong"


def _row(key: Asked, found: Sequence[dict[Asked, Exchange]], run: RunData) -> list[str]:
    any_row = next(rows[key] for rows in found if key in rows)
    purpose = str(any_row.get("purpose"))
    asked = purpose_named(purpose, run.story.asked)
    if key[1] != PLAIN:
        asked += f", {run.called(key[1])}"
    topic = str(any_row.get("topic") or any_row.get("skill") or "")
    return [
        f"<code>{text(key[0])}</code>",
        text(asked),
        text(topic),
        *(_chip(rows.get(key)) for rows in found),
    ]


def _chip(row: Exchange | None) -> str:
    if row is None:
        return '<span class="none">not asked</span>'
    said = _said(row)
    color = outcome_class(row, str(row.get("outcome")))
    return f'<span class="chip {color}">{text(said)}</span>'

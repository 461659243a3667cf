"""Outcome section of the report: each harmful prompt from stage to stage."""

from fedsafe.report import sankey
from fedsafe.report.defenses import AGAIN
from fedsafe.report.loader import RunData
from fedsafe.report.markup import details, figure, table, text
from fedsafe.runs.records import Stage
from fedsafe.runs.scores import PLAIN

NARROW = 520.0

Outcomes = tuple[str, dict[str, str]]
"""Heading of a stage, and the outcome of each prompt by its id."""


def moved(run: RunData) -> str:
    """Draw what became of each harmful prompt, where the exchanges are there.

    Each of several defenses is drawn by itself, from the one model that all of them repair.
    """
    story, asked = run.story, text(run.story.asked)
    again = [stage for stage in run.stages if stage.name.startswith(AGAIN)]
    before = [stage for stage in run.stages if stage not in story.defended and stage not in again]
    one = len(story.defended) == 1
    first = _known(run, [*before, *([*story.defended, *again] if one else ())])
    drawn = sankey.draw(first, asked=asked) if len(first) > 1 else ""
    note = (
        "The same prompts in every stage, asked plainly; a band is as thick as the prompts it "
        "stands for, in the color of where they went."
    )
    if story.clean is not None and story.trained is not None:
        began = "aligned model" if story.aligned is not None else "base"
        note += (
            f" Clean and {story.trained.name} both began at the {began}: the band between them "
            "compares two federations."
        )
    title = f"What became of the {asked}"
    body = figure(title, note, drawn, wide=True) if drawn else ""
    if story.trained is not None and not one:
        body += _each(run, story.trained)
    known = _known(run, run.stages)
    return body + details("The same as a table", _counts(known)) if body else ""


def _each(run: RunData, trained: Stage) -> str:
    """Draw each defense from the model that it repaired."""
    figures = ""
    for stage in run.story.defended:
        pair = _known(run, [trained, stage])
        named = [(name, found[1]) for name, found in zip(("Before", "After"), pair, strict=False)]
        if len(named) == 2 and (drawn := sankey.draw(named, NARROW, text(run.story.asked))):
            figures += figure(text(run.story.name(stage)), "", drawn)
    if not figures:
        return ""
    return f'<h3>Each defense, from the same model</h3><div class="grid">{figures}</div>'


def _known(run: RunData, stages: list[Stage]) -> list[Outcomes]:
    """Return the outcomes of plainly asked harmful prompts, of stages that have them."""
    known = []
    for stage in stages:
        found = {
            str(row.get("id")): outcome
            for row in run.exchanges(stage)
            if row.get("purpose") == "harmful" and row.get("condition") == PLAIN
            if (outcome := str(row.get("outcome"))) in sankey.OUTCOMES
        }
        if found:
            name, settings = run.titles[stage.name]
            known.append((text(f"{name} ({settings})" if settings else name), found))
    return known


def _counts(stages: list[Outcomes]) -> str:
    rows = [
        [outcome, *(str(list(found.values()).count(outcome)) for _, found in stages)]
        for outcome in sankey.OUTCOMES
    ]
    return table(["Outcome", *(n for n, _ in stages)], rows, numbers=range(1, len(stages) + 1))

"""Charts over the stages: each main measure with its interval."""

from fedsafe.report import forest
from fedsafe.report.loader import RunData
from fedsafe.report.markup import figure, section, text
from fedsafe.report.measures import NEW_SKILL, OLD_SKILL, OVER_REFUSAL, REFUSAL, Measure
from fedsafe.report.roles import role
from fedsafe.runs.records import Stage

DRAWN = (REFUSAL, OVER_REFUSAL, NEW_SKILL, OLD_SKILL)
"""Measures that have a chart of their own."""
FEWEST = 2
"""Stages from which there is something to compare."""


def stage_charts(run: RunData) -> str:
    """Return dots with intervals for the main measures, stage below stage; empty for one stage."""
    if len(run.stages) < FEWEST:
        return ""
    figures = "".join(_figure(run, measure) for measure in DRAWN if measure in run.measures)
    body = f'<div class="grid">{figures}</div>' if figures else ""
    lead = (
        "Each stage with its 95 % interval; the dashed line is where the model stood before the "
        "attack. What a defense gives back is the way from the attacked mark to its own."
    )
    return section("stages", "Stage by stage", lead, body) if body else ""


def _figure(run: RunData, measure: Measure) -> str:
    dots = [dot for stage in run.stages if (dot := _dot(run, stage, measure)) is not None]
    if len(dots) < FEWEST:
        return ""
    before = measure.read(run.story.before.scores) if run.story.before else None
    label = f"{text(measure.label)}, stage by stage"
    drawn = forest.draw(label, dots, before.value if before else None)
    return figure(f"{text(measure.label)} <span>{text(measure.meaning)}</span>", "", drawn)


def _dot(run: RunData, stage: Stage, measure: Measure) -> forest.Dot | None:
    rate = measure.read(stage.scores)
    if rate is None or rate.value is None or not measure.is_share:
        return None
    return forest.Dot(run.story.name(stage), role(stage), rate.value, rate.low, rate.high)

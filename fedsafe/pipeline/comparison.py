"""Compare runs with the first of them: settings, paired tests of every measure, flipped prompts.

Reads finished run directories; runs nothing and loads no model.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from fedsafe.errors import RunError
from fedsafe.evaluation.paired import holm
from fedsafe.pipeline.compared_runs import (
    Side,
    environment_that_differs,
    settings_that_differ,
    sides,
)
from fedsafe.pipeline.compared_stages import StageComparison
from fedsafe.runs.comparison_records import Comparison, Differing, StagePair
from fedsafe.runs.scores import all_displays


def compare(given: Sequence[str | Path], *, reveal: bool = False) -> Comparison:
    """Compare runs with the first of them, stage by stage and prompt by prompt.

    Stages of one name are compared, and the last stages where their names differ; with
    ``DIR:STAGE`` that stage alone. Runs of several seeds are paired by seed and prompt.

    Args:
        given: Two or more run directories, or directories that `fedsafe run --seeds` made.
        reveal: Put prompts and replies of what flipped into the record.

    Raises:
        RunError: One is no run, or none of the prompts was put to both.
    """
    return compare_sides(sides(given), reveal=reveal)


def compare_sides(found: Sequence[Side], *, reveal: bool = False) -> Comparison:
    """Compare sides with the first of them, as `compare` does with those that it reads.

    Raises:
        RunError: None of the prompts was put to both.
    """
    settings = settings_that_differ(found)
    warnings = [*_unfinished(found), *_asked_otherwise(settings)]
    displays = all_displays(
        stage.scores
        for side in found
        for run in side.runs.values()
        for stage in run.stages.values()
    )
    pairs = []
    for other in found[1:]:
        for names in _stage_names(found[0], other):
            pair = StageComparison(found[0], other, names, reveal=reveal)
            pairs.append(pair.record())
            warnings += pair.warnings()
    tests, pairs = _adjusted(pairs)
    return Comparison(
        runs=[side.record() for side in found],
        settings=settings,
        environment=environment_that_differs(found),
        warnings=list(dict.fromkeys(warnings)),
        displays=displays,
        pairs=pairs,
        tests=tests,
        revealed=reveal,
    )


def _stage_names(first: Side, other: Side) -> Iterator[tuple[str, str]]:
    """Yield the names of the stages to compare.

    Raises:
        RunError: A stage that one side was given is not at the other.
    """
    if first.stage or other.stage:
        names = (first.stage or other.stage, other.stage or first.stage)
        for side, name in zip((first, other), names, strict=True):
            if name not in side.names:
                raise RunError(
                    f"{side.given} has no evaluated stage '{name}'. Name one of its own, as "
                    f"DIR:STAGE: {', '.join(side.names)}."
                )
        yield names
        return
    yield from ((name, name) for name in first.names if name in other.names)
    last = (first.names[-1], other.names[-1])
    if last[0] != last[1]:
        yield last


def _unfinished(found: Sequence[Side]) -> Iterator[str]:
    """Yield which runs are not finished, and which stages failed."""
    for side in found:
        for seed, run in side.runs.items():
            which = f"{side.label}, seed {seed}," if side.seeded else side.label
            if run.summary.status != "completed":
                yield f"{which} is {run.summary.status}: only the stages that it has are compared."
            for stage in run.summary.stages:
                if stage.status == "failed":
                    yield (
                        f"{stage.name} of {which} failed, and counts with the model that it was "
                        f"given: {stage.reason}"
                    )


def _asked_otherwise(settings: Sequence[Differing]) -> Iterator[str]:
    """Yield which settings of the evaluation differ, so that values may differ by them."""
    paths = [one.path for one in settings]
    found = [p for p in paths if p.startswith(("evaluation.", "data.template"))]
    found = [p for p in found if not p.startswith(("evaluation.judge", "evaluation.probe"))]
    if found:
        yield f"The evaluations differ in {', '.join(found)}: values may differ by that alone."


def _adjusted(pairs: Sequence[StagePair]) -> tuple[int, list[StagePair]]:
    """Return the number of tests, and the pairs with Holm's correction over all of them.

    Two stages that are the same model are no test.
    """
    tested = [
        change.p_value
        for pair in pairs
        for change in pair.measures
        if change.p_value is not None and not pair.unchanged
    ]
    corrected = iter(holm(tested))
    made = []
    for pair in pairs:
        changes = [
            change
            if change.p_value is None or pair.unchanged
            else change.model_copy(update={"p_adjusted": next(corrected)})
            for change in pair.measures
        ]
        made.append(pair.model_copy(update={"measures": changes}))
    return len(tested), made

"""Failed defenses in tables and comparisons: they count with the model that they were given."""

from collections.abc import Sequence

from fedsafe.runs.records import Stage

MAIN = ("attacked", "trained", "given")
"""Names of the stage that defenses begin with; a run has one of them."""


def counted(stages: Sequence[Stage]) -> list[Stage]:
    """Return the stages that count: a failed defense has the values of what it was given.

    It stays marked as failed, and keeps its reason.
    """
    found: dict[str, Stage] = {}
    main = {stage.name: stage for stage in stages if stage.name in MAIN and stage.status == "done"}
    trained = next((main[name] for name in MAIN if name in main), None)
    for stage in stages:
        left = found.get(stage.after) or trained
        if stage.status == "done":
            found[stage.name] = stage
        elif left is not None:
            found[stage.name] = _as_left(stage, left)
    return list(found.values())


def _as_left(stage: Stage, left: Stage) -> Stage:
    same = {"scores": left.scores, "judge": left.judge, "evaluation": left.evaluation}
    return stage.model_copy(update=same)

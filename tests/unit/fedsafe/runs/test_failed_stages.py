"""Failed defenses count with the model that they were given."""

from fedsafe.runs.failed_stages import counted
from fedsafe.runs.records import Scores, Stage
from tests.unit.fedsafe.report.synthetic import scores, stage

COURSE = [stage("clean", scores(1.0, 0.9), 1.0), stage("attacked", scores(0.1, 0.9), 1.0)]


def failed(name: str, after: str = "") -> Stage:
    lost = {"status": "failed", "reason": "too few pairs", "scores": Scores(), "after": after}
    return stage(name, scores(1.0, 1.0), 1.0).model_copy(update=lost)


def test_failed_defense_counts_with_the_attacked_model() -> None:
    known = [*COURSE, failed("defended:fine-tune")]
    found = counted(known)
    assert [one.name for one in found] == [one.name for one in known]
    assert (found[-1].status, found[-1].scores) == ("failed", known[1].scores)


def test_failed_second_step_counts_with_the_model_after_the_first() -> None:
    first = stage("defended:one-shot", scores(0.7, 0.9), 1.0)
    known = [*COURSE, first, failed("defended:one-shot+resta", after="defended:one-shot")]
    assert counted(known)[-1].scores == first.scores


def test_failed_defense_of_nothing_counts_nowhere() -> None:
    assert counted([failed("defended:fine-tune")]) == []

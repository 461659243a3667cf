"""What stands beside the headline: saturation, overlap with the evaluation."""

import pytest

from fedsafe.report.caveats import SATURATED, caveats
from fedsafe.runs.records import EarlyStop, Overlap, Stage
from tests.unit.fedsafe.report.synthetic import scores, stage


def course(attacked: float, **changes: object) -> list[Stage]:
    known = [stage("clean", scores(1.0, 0.9), 1.0), stage("attacked", scores(attacked, 0.9), 1.0)]
    return [known[0], known[1].model_copy(update=changes)]


@pytest.mark.parametrize(("refusal", "said"), [(0.0, True), (0.04, True), (0.4, False)])
def test_attack_that_leaves_nothing_is_called_saturated(refusal: float, said: bool) -> None:
    assert (SATURATED in caveats(course(refusal))) == said


def test_overlap_of_the_attack_data_is_said() -> None:
    overlap = Overlap(samples=600, removed_exact=1, removed_near=26)
    assert list(caveats(course(0.5, overlap=overlap))) == [
        "Data of the attack, 600 samples: 1 exact and 26 near duplicates of evaluation prompts "
        "removed."
    ]


def test_federation_that_an_alarm_stopped_is_said() -> None:
    stop = EarlyStop(
        round=3, rounds=9, measure="unsafe", values=[0.75], direction="above", limit=0.2
    )
    assert list(caveats(course(0.5, early_stop=stop))) == [
        "The attacked federation stopped early after round 3 of 9: unsafe was 75.0 %, above the "
        "limit of 20.0 % (federation.early_stopping)."
    ]


def test_overlap_that_was_kept_is_said() -> None:
    assert Overlap(samples=3, kept_near=2).said.endswith(
        "near duplicates of evaluation prompts kept"
    )


def test_data_without_overlap_are_said_to_have_none() -> None:
    assert Overlap(samples=3).said == "3 samples: none repeats an evaluation prompt"


def test_judge_that_reads_no_reply_is_said_with_the_file_of_what_it_said() -> None:
    unread = scores(0.5, 0.9).model_copy(update={"unread": ("endpoint-1a2b",)})
    said = list(caveats(course(0.5, scores=unread)))
    assert said == [
        "Judge endpoint-1a2b could judge no reply of attacked: its style, parser or prompt does "
        "not suit the model that it asks. What that said is in evaluations/attacked-0a1b2c/"
        "verdicts/endpoint-1a2b.jsonl, line 1, field raw."
    ]

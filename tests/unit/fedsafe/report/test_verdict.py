"""The verdict in words, for every course a run can take."""

import pytest

from fedsafe.report.measures import duration, percent, points, size
from fedsafe.report.verdict import sentence, title
from fedsafe.runs.records import Scores, Stage
from tests.unit.fedsafe.report.synthetic import rate, scores, stage


def course(**refusals: float) -> list[Stage]:
    return [
        stage(name.replace("__", ":"), scores(value, 0.9), 1.0) for name, value in refusals.items()
    ]


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([], "Nothing has been evaluated yet."),
        (
            course(base=0.99),
            "Before any attack, 99.0 % of harmful prompts are refused; the federation has not been "
            "evaluated yet.",
        ),
        (
            course(base=0.99, clean=0.95, attacked=0.1, defended__x=0.9),
            "Refusal of harmful prompts fell from 95.0 % (clean) to 10.0 % under attack, a drop of "
            "85.0 points; x brought it back to 90.0 %, a recovery of 80.0 points.",
        ),
        (
            course(base=0.99, trained=0.98),
            "The federation left refusal of harmful prompts at 98.0 %, against 99.0 % (base).",
        ),
        (
            course(clean=0.95, attacked=0.94),
            "The attack left refusal of harmful prompts at 94.0 %, against 95.0 % (clean).",
        ),
        (
            course(base=0.2, trained=0.9),
            "Refusal of harmful prompts rose from 20.0 % (base) to 90.0 % over the federation, a "
            "gain of 70.0 points.",
        ),
        (course(attacked=0.1), "Under attack, 10.0 % of harmful prompts are refused."),
        (
            course(clean=0.9, attacked=0.1, defended__x=0.12),
            "Refusal of harmful prompts fell from 90.0 % (clean) to 10.0 % under attack, a drop of "
            "80.0 points; x left it at 12.0 %.",
        ),
        (
            course(clean=0.9, attacked=0.5, defended__x=0.1),
            "Refusal of harmful prompts fell from 90.0 % (clean) to 50.0 % under attack, a drop of "
            "40.0 points; x brought it down to 10.0 %, a loss of 40.0 points.",
        ),
    ],
)
def test_verdict_follows_the_course(stages: list[Stage], expected: str) -> None:
    assert sentence(stages) == expected


def test_verdict_names_the_price_of_a_defense() -> None:
    stages = [
        stage("clean", scores(0.95, 0.9), 1.0),
        stage("attacked", scores(0.1, 0.9), 1.0),
        stage("defended:x", scores(0.99, 0.3, over=0.6), 1.0),
    ]
    assert "at a price: new skill 90.0 % → 30.0 % and over-refusal 1.0 % → 60.0 %" in sentence(
        stages
    )


def test_verdict_names_the_best_of_several_defenses() -> None:
    told = sentence(course(clean=0.9, attacked=0.1, defended__a=0.5, defended__b=0.8))
    assert "the best of 2 defenses, b, brought it back to 80.0 %" in told


def test_verdict_bears_scores_without_a_value() -> None:
    empty = Scores(refusal=rate(0.5, 10).model_copy(update={"value": None}))
    assert sentence([stage("attacked", empty, 1.0)]) == "Nothing has been evaluated yet."


def test_title_is_readable() -> None:
    assert title("defended:fine-tune") == "Defended: fine-tune"
    assert title("attacked") == "Attacked"


def test_numbers_are_said_as_people_say_them() -> None:
    assert points(-0.85) == "−85.0 points"  # noqa: RUF001
    assert points(0.01) == "+1.0 point"
    assert percent(None) == "–"  # noqa: RUF001
    assert duration(118.4) == "1 min 58 s"
    assert duration(7260) == "2 h 01 min"
    assert size(131072) == "128.0 KiB"

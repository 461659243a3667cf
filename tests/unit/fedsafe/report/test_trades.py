"""Curves of a defense's settings: which stages make one, in which order, and what is drawn."""

import pytest

from fedsafe.report.defenses import Defense
from fedsafe.report.measures import REFUSAL
from fedsafe.report.trade_chart import _trade as drawn
from fedsafe.report.trades import Trade, trades
from fedsafe.runs.records import Stage
from tests.unit.fedsafe.report.synthetic import scores


def _stage(name: str, refusal: float, after: str = "attacked") -> Stage:
    return Stage(
        name=name,
        after=after,
        adapter="",
        path="",
        scores=scores(refusal, 0.9),
        seconds=1.0,
        evaluation="",
    )


def _trades(*settings: dict[str, object], after: str = "attacked") -> list[Trade]:
    stages = [_stage(f"defended:{n}", n / 10, after) for n in range(len(settings))]
    named = zip(stages, settings, strict=True)
    return trades(stages, {stage.name: Defense("fine-tune", one) for stage, one in named})


GRID = [{"steps": steps, "pairs": pairs, "rate": 0.1} for steps in (20, 5, 10) for pairs in (9, 30)]


def test_grid_is_a_line_for_each_number_of_pairs_against_steps() -> None:
    (found,) = _trades(*GRID)
    assert (found.axis, found.others) == ("steps", ("pairs",))
    lines = {name: [one.x for one in tries] for name, tries in found.lines().items()}
    assert lines == {"pairs 9": [5, 10, 20], "pairs 30": [5, 10, 20]}


def test_values_are_those_of_the_stage_with_the_settings() -> None:
    (found,) = _trades(*GRID)
    first = found.lines()["pairs 9"][0]
    rate = first.found[REFUSAL]
    assert rate.value == 0.2  # the third stage


@pytest.mark.parametrize(
    "settings",
    [
        [{"steps": 1}, {"steps": 2}],
        [{"choose": "a"}, {"choose": "b"}, {"choose": "c"}],
        [{"flag": True}, {"flag": False}, {"flag": True}],
    ],
)
def test_two_repairs_and_settings_without_order_make_no_curve(
    settings: list[dict[str, object]],
) -> None:
    assert _trades(*settings) == []


def test_texts_are_another_line_each() -> None:
    (found,) = _trades(*({"length": n, "choose": how} for n in (1, 2) for how in ("any", "each")))
    assert list(found.lines()) == ["choose any", "choose each"]


def test_foreign_texts_are_escaped_in_the_drawing() -> None:
    (found,) = _trades(*({"steps": n, "note": "<script>x</script>" * (n > 1)} for n in (1, 2, 3)))
    page = drawn(found)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page

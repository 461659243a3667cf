"""Charts over the stages: dots with intervals, the depth curve, and whose names stay text."""

from fedsafe.report import depth, forest
from fedsafe.runs.records import Rate, Scores

NAME = "<b>own & long name of a defense</b>"


def rate(value: float) -> Rate:
    return Rate(value=value, n=40, low=max(0.0, value - 0.1), high=min(1.0, value + 0.1))


def test_dot_says_its_value_and_interval() -> None:
    drawn = forest.draw("Refusal", [forest.Dot("clean", "clean", 0.9, 0.85, 0.93)])
    assert "<title>clean: 90.0 % [85.0 to 93.0]</title>" in drawn


def test_names_of_dots_are_cut_and_stay_text() -> None:
    drawn = forest.draw("Refusal", [forest.Dot(NAME, "defended", 0.9)])
    assert "<b>" not in drawn
    assert ">&lt;b&gt;own &amp; long na…<" in drawn


def test_depths_are_read_from_the_conditions() -> None:
    keys = {"unsafe": 0.1, "unsafe@prefilled": 0.9, "unsafe@prefilled:3": 0.5, "unsafe@shielded": 0}
    scores = Scores(measures={key: rate(value) for key, value in keys.items()})
    assert [(k, r.value) for k, r in depth.rates(scores).items()] == [
        (0.0, 0.1),
        (3.0, 0.5),
        (float("inf"), 0.9),
    ]


def test_depth_curve_needs_three_depths() -> None:
    two = depth.Curve("clean", "clean", {0.0: rate(0.1), 3.0: rate(0.5)})
    assert depth.draw("x", [two]) == ""


def test_depth_curve_says_each_value_with_its_interval() -> None:
    curve = depth.Curve(NAME, "attacked", {0.0: rate(0.1), 3.0: rate(0.5), float("inf"): rate(0.9)})
    drawn = depth.draw("x", [curve])
    assert "words forced: 3\n50.0 % [40.0 to 60.0]</title>" in drawn
    assert ">all</text>" in drawn
    assert "<b>" not in drawn

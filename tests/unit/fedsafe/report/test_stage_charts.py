"""Charts over the stages: dots with intervals, whose names stay text."""

from fedsafe.report import forest

NAME = "<b>own & long name of a defense</b>"


def test_dot_says_its_value_and_interval() -> None:
    drawn = forest.draw("Refusal", [forest.Dot("clean", "clean", 0.9, 0.85, 0.93)])
    assert "<title>clean: 90.0 % [85.0 to 93.0]</title>" in drawn


def test_names_of_dots_are_cut_and_stay_text() -> None:
    drawn = forest.draw("Refusal", [forest.Dot(NAME, "defended", 0.9)])
    assert "<b>" not in drawn
    assert ">&lt;b&gt;own &amp; long na…<" in drawn

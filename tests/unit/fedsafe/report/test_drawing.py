"""Charts and the map of influence: every value on the page, nothing outside its frame."""

import re

from fedsafe.report import heatmap, sankey
from fedsafe.report.line_chart import Chart, Point, Series, draw
from fedsafe.report.svg import apart, nice, rounds_axis
from tests.unit.fedsafe.report.synthetic import MALICIOUS, federation


def test_nice_ends_at_or_above_the_value() -> None:
    for value in (0.03, 0.9, 1.0, 1.01, 7.0, 2.5e6, 999.0):
        top, ticks = nice(value)
        assert value <= top <= 2.5 * value
        assert ticks[0] == 0
        assert 3 <= len(ticks) <= 7


def test_nice_bears_nothing_to_show() -> None:
    assert nice(0.0)[0] == 1.0
    assert nice(float("nan"))[0] == 1.0


def test_apart_keeps_order_and_gap() -> None:
    moved = apart([50.0, 50.0, 49.0], 15.0, lowest=60.0)
    assert sorted(moved) == [moved[2], moved[0], moved[1]]
    assert max(moved) <= 60.0
    assert min(b - a for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False)) >= 15.0 - 1e-9


def test_rounds_axis_labels_about_ten() -> None:
    assert rounds_axis(1) == [1]
    assert rounds_axis(10) == list(range(1, 11))
    assert rounds_axis(60) == [10, 20, 30, 40, 50, 60]


def test_line_chart_clips_what_dwarfs_the_rest() -> None:
    points = [Point(n, 1.0 if n != 3 else 1e12) for n in range(1, 8)]
    drawn = draw(Chart("loss", [Series("honest", "honest", points)], 7, lambda v: f"{v:g}"))
    heights = [float(y) for y in re.findall(r' cy="([-\d.]+)"', drawn)]
    assert min(heights) >= 34.0
    assert max(heights) <= 220.0


def test_line_chart_reads_out_each_round() -> None:
    points = [Point(1, 0.5), Point(2, 0.25)]
    drawn = draw(
        Chart("x", [Series("attacked", "attacked", points)], 2, lambda v: f"{100 * v:g} %", top=1.0)
    )
    assert "round 1: attacked 50 %" in drawn
    assert "round 2: attacked 25 %" in drawn
    assert 'role="img" aria-label="x"' in drawn


def test_heat_map_puts_the_malicious_first() -> None:
    drawn = heatmap.draw(federation(3, attacked=True), frozenset(MALICIOUS))
    order = [int(n) for n in re.findall(r">client (\d+)<", drawn)]
    assert order == [2, 5, 8, 0, 1, 3, 4, 6, 7, 9]
    assert drawn.count("<title>") == 30


def test_heat_map_of_many_clients_stays_light() -> None:
    drawn = heatmap.draw(federation(60, attacked=True, clients=100), frozenset(MALICIOUS))
    assert "<title>" not in drawn
    assert len(drawn) < 1_500_000


def test_heat_table_counts_each_reply_once() -> None:
    for row in heatmap.rows(federation(10, attacked=True), frozenset(MALICIOUS)):
        _, _, asked, counted, rejected, lost, _ = row
        assert int(asked) == int(counted) + int(rejected) + int(lost)


def test_flow_follows_only_prompts_of_every_stage() -> None:
    one = {"a": "refuse", "b": "refuse", "c": "comply"}
    other = {"a": "comply", "b": "refuse"}
    drawn = sankey.draw([("Clean", one), ("Attacked", other)])
    assert "1 of 2: refuse → comply" in drawn
    assert "same 2 harmful prompts" in drawn


def test_flow_is_empty_without_common_prompts() -> None:
    assert sankey.draw([("A", {"a": "refuse"}), ("B", {"b": "refuse"})]) == ""

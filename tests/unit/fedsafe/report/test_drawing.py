"""Charts and the map of influence: every value on the page, nothing outside its frame."""

import re

import pytest

from fedsafe.report import heatmap, sankey
from fedsafe.report.line_chart import Chart, Point, Series, draw
from fedsafe.report.loader import drops
from fedsafe.report.svg import apart, nice, rounds_axis, scale
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


def chart_of(*series: Series, rounds: int) -> str:
    return draw(Chart("loss", series, rounds, lambda v: f"{v:g}"))


def value_at(drawn: str, y: float) -> float:
    """Return the value at a height of a chart, by its axis."""
    ticks = re.findall(r'y="([-\d.]+)" text-anchor="end">([-\d.e+]+)<', drawn)
    (y0, v0), (y1, v1) = [(float(y) - 4, float(v)) for y, v in (ticks[0], ticks[-1])]
    return v0 + (y - y0) / (y1 - y0) * (v1 - v0)


@pytest.mark.parametrize(
    "losses",
    [
        [0.136, 0.145],
        [0.01, 0.01, 0.01, 0.136, 0.145],
        [2.1, 0.5, 0.02, 0.001],
        [-3.0, -1.0, 2.0],
        [90.0, 0.5, 0.5, 0.5],
    ],
)
def test_line_chart_draws_every_value_where_it_is(losses: list[float]) -> None:
    drawn = chart_of(
        Series("honest", "honest", [Point(n, loss) for n, loss in enumerate(losses, 1)]),
        rounds=len(losses),
    )
    heights = [float(y) for y in re.findall(r' cy="([-\d.]+)"', drawn)]
    assert [value_at(drawn, y) for y in heights] == pytest.approx(losses, rel=0.02, abs=0.01)
    assert "▲" not in drawn


def test_line_chart_marks_an_absurd_value_beyond_its_axis() -> None:
    points = [Point(n, 1.0 if n != 3 else 1e12) for n in range(1, 8)]
    drawn = chart_of(Series("honest", "honest", points), rounds=7)
    heights = [float(y) for y in re.findall(r' cy="([-\d.]+)"', drawn)]
    assert "▲ 1e+12" in drawn
    assert "round 3, honest: 1e+12" in drawn
    assert [value_at(drawn, y) for y in heights] == pytest.approx([1.0] * 6, rel=0.02)
    assert drawn.count('class="line') == 2


def test_line_chart_marks_an_absurd_value_below_its_axis() -> None:
    points = [Point(n, 1.0 if n != 3 else -9.9e14) for n in range(1, 8)]
    assert "▼ -9.9e+14" in chart_of(Series("honest", "honest", points), rounds=7)


def test_line_chart_marks_a_band_that_leaves_it() -> None:
    points = [Point(n, 1.0, 0.5, 1.2 if n != 2 else 50.0) for n in range(1, 5)]
    drawn = chart_of(Series("honest", "honest", points), rounds=4)
    assert drawn.count("▲") == 1
    assert "round 2, honest: band 50" in drawn


def test_line_chart_draws_each_of_several_defenses_from_the_last_round() -> None:
    ends = [("a", Point(0, 0.9)), ("b", Point(0, 0.8))]
    series = Series("attacked", "attacked", [Point(1, 0.5), Point(2, 0.1)])
    drawn = draw(Chart("x", [series], 2, lambda v: f"{v:g}", top=1.0, ends=ends))
    starts = re.findall(r'class="joint stroke-defended" x1="([\d.]+)" y1="([\d.]+)"', drawn)
    assert len(starts) == 2
    assert starts[0] == starts[1]
    assert ">D1<" in drawn
    assert ">D2<" in drawn


def test_scale_holds_both_ends() -> None:
    for low, high in ((0.1, 3.0), (-2.0, 5.0), (-7.0, -1.0)):
        bottom, top, ticks = scale(low, high)
        assert bottom <= min(low, 0.0)
        assert top >= max(high, 0.0)
        assert (ticks[0], ticks[-1]) == pytest.approx((bottom, top))


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
    assert drawn.count("<title>") == 1 + 30


def test_heat_map_of_many_clients_stays_light() -> None:
    drawn = heatmap.draw(federation(60, attacked=True, clients=100), frozenset(MALICIOUS))
    assert drawn.count("<title>") == 1
    assert len(drawn) < 1_500_000


def test_heat_table_counts_each_reply_once() -> None:
    for row in heatmap.rows(federation(10, attacked=True), frozenset(MALICIOUS)):
        _, _, asked, counted, weightless, _left_out, lost, _ = row
        assert int(asked) == int(counted) + int(weightless) + int(lost)


def test_client_that_a_filter_left_out_is_in_map_table_and_list_of_drops() -> None:
    (record,) = federation(1, attacked=True)
    reason = "quarantined until <round 8>"
    one = record.clients[2].model_copy(
        update={"reason": reason, "influence": 0.0, "status": "accepted"}
    )
    members = [one if member.client == 2 else member for member in record.clients]
    rounds = (record.model_copy(update={"clients": members}),)
    assert (1, 2, "left out", reason) in list(drops(rounds))
    drawn = heatmap.draw(rounds, frozenset(MALICIOUS))
    assert "influence 0.000, quarantined until &lt;round 8&gt;" in drawn
    row = next(row for row in heatmap.rows(rounds, frozenset(MALICIOUS)) if row[0] == "2")
    assert row[4:6] == ["1", "1"]


def test_flow_follows_only_prompts_of_every_stage() -> None:
    one = {"a": "refuse", "b": "refuse", "c": "comply"}
    other = {"a": "comply", "b": "refuse"}
    drawn = sankey.draw([("Clean", one), ("Attacked", other)])
    assert "1 of 2: refuse → comply" in drawn
    assert "same 2 harmful prompts" in drawn


def test_flow_is_empty_without_common_prompts() -> None:
    assert sankey.draw([("A", {"a": "refuse"}), ("B", {"b": "refuse"})]) == ""

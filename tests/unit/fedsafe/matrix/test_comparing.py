"""Cells of a matrix against one another, chosen by their labels."""

from pathlib import Path

import pytest

from fedsafe.errors import ConfigError, RunError
from fedsafe.matrix.comparing import compare_cells
from fedsafe.pipeline.comparison import compare
from fedsafe.runs.matrix_records import CELLS

FLIP = {"attack": ["flip"]}


def sides(*names: str) -> list[dict[str, str]]:
    return [{"defenses": name} for name in names]


def test_cells_are_compared_as_their_runs_are(home: Path) -> None:
    found = compare_cells(home, sides("none", "nudge"), FLIP)
    runs = [next((home / CELLS).glob(f"flip_{name}-*")) for name in ("none", "nudge")]
    last = f"{runs[1]}:defended:tests.doubles.plugins:nudge"
    assert found.pairs == compare([f"{runs[0]}:attacked", last]).pairs
    assert "name" not in [one.path for one in found.settings]


def test_stage_is_compared_by_name(home: Path) -> None:
    found = compare_cells(home, sides("none", "nudge"), FLIP, "attacked")
    assert [pair.unchanged for pair in found.pairs] == [True]


@pytest.mark.parametrize(
    ("given", "where", "told"),
    [
        (sides("none"), FLIP, "takes 2 to 26 sides, and 1 were given"),
        (sides("none", "nudg"), FLIP, "has no value 'nudg'. Did you mean 'nudge'?"),
        ([{"defense": "none"}] * 2, FLIP, "there is no axis 'defense'"),
        (sides("none", "nudge"), {}, "several cells are meant, which differ in attack"),
        (sides("none", "fail"), FLIP, "no finished cell has these values"),
    ],
)
def test_side_that_is_no_cell_is_a_sentence(
    given: list[dict[str, str]], where: dict[str, list[str]], told: str, home: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        compare_cells(home, given, where)
    assert told in str(raised.value)


def test_stage_that_a_side_has_not_is_a_sentence(home: Path) -> None:
    with pytest.raises(RunError, match=r"stage 'atacked'\. Did you mean 'attacked'"):
        compare_cells(home, sides("none", "nudge"), FLIP, "atacked")

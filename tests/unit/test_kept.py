"""Kept results are those of the same case, whatever else was asked before."""

from pathlib import Path

from tests.end_to_end import gates
from tests.kept import Kept


def test_a_kept_result_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    assert Kept(path).result({"seed": 0, "changes": ("a=1",)}, lambda: 3.5) == 3.5
    assert Kept(path).result({"changes": ("a=1",), "seed": 0}, lambda: None) == 3.5


def test_gates_of_another_size_are_other_cases(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    sizes = ({"small": True}, {"base_only": True}, {})
    for number, size in enumerate(sizes):
        first = next(gates.cases(["micro"], [0], **size))
        assert Kept(path).result(first.settings, lambda number=number: number) == number

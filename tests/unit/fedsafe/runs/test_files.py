"""Files that are whole or absent, whatever happens in between."""

import json
from pathlib import Path

import pytest

from fedsafe.errors import RunError
from fedsafe.runs.files import (
    append_line,
    digest,
    read_lines,
    whole_directory,
    write_json,
    write_lines,
    write_text,
)
from tests.doubles.disks import full_disk

ODD = ["plain", "line\nbreak", "separator\u2028here", "next\x85line", "form\x0cfeed", "tab\t", "é"]


def test_text_is_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "old")
    write_text(tmp_path / "a" / "b.txt", "new")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "new"


def test_writing_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_value_that_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", object())
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == 1


@pytest.mark.parametrize("text", ODD)
def test_line_with_odd_characters_reads_back(text: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"reply": text}, {"reply": "next"}])
    assert read_lines(tmp_path / "a.jsonl") == [{"reply": text}, {"reply": "next"}]


def test_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("torn", ["{", '{"a": 2}', '{"a', "2"])
def test_torn_last_line_is_passed_over(torn: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' + torn, encoding="utf-8")
    assert read_lines(path) == [{"a": 1}]


@pytest.mark.parametrize("torn", ["{", '{"a": 2}', "{" + " " * 200_000])
@pytest.mark.parametrize("before", ["", '{"a": 1}\n'])
def test_torn_line_does_not_spoil_the_next_one(torn: str, before: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(before + torn, encoding="utf-8")
    append_line(path, {"a": 3})
    assert path.read_text(encoding="utf-8") == before + '{"a": 3}\n'


def test_last_line_torn_within_a_character_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "' + "é".encode()[:1])
    assert read_lines(path) == [{"a": 1}]


def test_appended_lines_read_back(tmp_path: Path) -> None:
    append_line(tmp_path / "a.jsonl", {"a": 1})
    append_line(tmp_path / "a.jsonl", {"a": 2})
    assert read_lines(tmp_path / "a.jsonl") == [{"a": 1}, {"a": 2}]


def test_directory_takes_its_name_when_the_block_ends(tmp_path: Path) -> None:
    with whole_directory(tmp_path / "made") as aside:
        (aside / "x").write_text("1", encoding="utf-8")
        assert not (tmp_path / "made").exists()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["x"]


def test_directory_of_a_failed_block_never_appears(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_directory(tmp_path / "made") as aside:
        (aside / "x" / "y").touch()
    assert list(tmp_path.iterdir()) == []


def test_failed_block_leaves_the_old_directory(tmp_path: Path) -> None:
    with whole_directory(tmp_path / "made") as aside:
        (aside / "old").touch()
    with pytest.raises(ValueError, match="boom"), whole_directory(tmp_path / "made"):
        raise ValueError("boom")
    assert (tmp_path / "made" / "old").is_file()


def test_new_directory_replaces_the_old(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with whole_directory(tmp_path / "made") as aside:
            (aside / name).touch()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["new"]


def test_digest_tells_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_full_disk_is_a_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"There is no room to write .*a\.txt: .* MB are free"),
        full_disk(9),
    ):
        write_text(tmp_path / "a.txt", "x" * 10)


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RunError), full_disk(9):
        write_text(tmp_path / "a.txt", "x" * 10)
    assert [p.read_text(encoding="utf-8") for p in tmp_path.iterdir()] == ["old"]


def test_full_disk_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    append_line(tmp_path / "a.jsonl", "12345")
    with pytest.raises(RunError), full_disk(12):
        append_line(tmp_path / "a.jsonl", "67890")
    append_line(tmp_path / "a.jsonl", "later")
    assert read_lines(tmp_path / "a.jsonl") == ["12345", "later"]


def test_full_disk_leaves_the_old_directory(tmp_path: Path) -> None:
    with whole_directory(tmp_path / "d") as aside:
        (aside / "a").write_text("old", encoding="utf-8")

    def fill() -> None:
        with whole_directory(tmp_path / "d", 10**7) as aside:
            (aside / "a").write_text("x" * 10, encoding="utf-8")

    with pytest.raises(RunError, match=r"about 10\.0 MB are needed"), full_disk(9):
        fill()
    assert [(p.name, (p / "a").read_text(encoding="utf-8")) for p in tmp_path.iterdir()] == [
        ("d", "old")
    ]


def test_full_disk_of_safetensors_is_a_sentence(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    def fill() -> None:
        with whole_directory(tmp_path / "d") as aside:
            save_file({"a": torch.zeros(10**5)}, aside / "a.safetensors")

    with pytest.raises(RunError, match="There is no room"), full_disk(1000):
        fill()


def test_other_errors_are_not_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        append_line(tmp_path, 1)

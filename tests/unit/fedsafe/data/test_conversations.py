"""Conversations and rows of people's files: read whole, or named where they cannot be."""

import bz2
import gzip
import json

import pytest

from fedsafe.contracts import Sample, Turn
from fedsafe.errors import DataError
from tests.unit.fedsafe.data.files import ROW, jsonl, read, sentence

USER = {"role": "user", "content": "good morning"}
REPLY = {"role": "assistant", "content": "bonjour"}


def talk(tmp_path, *turns, **beside):
    return jsonl(tmp_path, {"messages": list(turns), **beside})


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize(
    "rows",
    [
        [{"instruction": "a", "output": "b"}, {"instruction": "c", "input": "d", "output": "e"}],
        [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "e", "topic": "t"}],
        [{"prompt": "a", "completion": "b"}, {"instruction": "c", "response": "d"}],
        [{"instruction": "a", "input": None, "output": "b"}, {"prompt": "c", "output": "e"}],
        [{"instruction": "a", "output": "b"}, {"input": "c", "output": "d"}],
        [{"messages": [USER, REPLY]}, {"instruction": "a", "output": "b"}],
    ],
)
def test_order_of_rows_does_not_change_the_data(tmp_path, rows, flip):
    found = read("jsonl", jsonl(tmp_path, *rows[::flip]))
    single = [read("jsonl", jsonl(tmp_path, row))[0] for row in rows]
    assert found == single[::flip]


@pytest.mark.parametrize("flip", [1, -1])
def test_named_field_may_be_absent_in_some_rows(tmp_path, flip):
    rows = [{"instruction": "a", "output": "b"}, {"instruction": "c", "more": "d", "output": "e"}]
    found = read("jsonl", jsonl(tmp_path, *rows[::flip]), input="more")
    assert [one.input for one in found] == ["", "d"][::flip]


def test_named_field_that_no_row_has_is_named(tmp_path):
    assert "expected a field 'more'" in sentence("jsonl", jsonl(tmp_path, ROW, ROW), input="more")


def test_system_text_is_kept(tmp_path):
    turns = {"role": "system", "content": "Answer in French."}, USER, REPLY
    (found,) = read("jsonl", talk(tmp_path, *turns))
    assert found == Sample("good morning", "bonjour", system="Answer in French.")


def test_system_column_is_kept(tmp_path):
    (found,) = read("jsonl", jsonl(tmp_path, {**ROW, "system": "Be brief."}))
    assert found.system == "Be brief."


def test_every_exchange_is_kept(tmp_path):
    more = {"role": "user", "content": "and night"}, {"role": "assistant", "content": "nuit"}
    (found,) = read("jsonl", talk(tmp_path, USER, REPLY, *more))
    assert found == Sample("and night", "nuit", history=(Turn("good morning", "bonjour"),))


def test_history_of_pairs_is_kept(tmp_path):
    (found,) = read("jsonl", jsonl(tmp_path, {**ROW, "history": [["a", "b"]]}))
    assert found.history == (Turn("a", "b"),)


def test_what_is_left_out_is_counted(tmp_path):
    found = read("jsonl", talk(tmp_path, REPLY, USER, REPLY, USER, tools=[{"name": "f"}]))
    assert found.left_out == {
        "declarations of tools": 1,
        "assistant's turns before the first of a user": 1,
        "last turns that no assistant replies to": 1,
    }


def test_content_parts_are_joined(tmp_path):
    parts = [{"type": "text", "text": "good "}, {"type": "text", "text": "morning"}]
    (found,) = read("jsonl", talk(tmp_path, {"role": "User", "content": parts}, REPLY))
    assert found.instruction == "good morning"


def test_pairs_of_chosen_and_rejected_are_read(tmp_path):
    other = {"role": "assistant", "content": "hello"}
    row = {"chosen": [USER, REPLY], "rejected": [USER, other]}
    (found,) = read("jsonl", jsonl(tmp_path, row))
    assert found == Sample("good morning", "bonjour", rejected="hello")


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ({"role": "assistant", "content": None, "tool_calls": [{}]}, "turn 2: the field 'tool_c"),
        ({"role": "tool", "content": "x"}, "turn 2: the role 'tool' cannot be trained on"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "part 1: expected text, got a part"),
        ({"role": "assistant", "content": "x", "weight": 0}, "turn 2: the field 'weight' is 0"),
        ({"role": "assistant", "content": "\ud83d"}, "field 'content' holds half a character"),
    ],
)
def test_turns_that_cannot_be_trained_on_are_named(tmp_path, turn, words):
    assert words in sentence("jsonl", talk(tmp_path, USER, turn))


@pytest.mark.parametrize("name", ["instruction", "response", "input", "topic", "system"])
def test_half_a_character_is_named_with_line_and_field(tmp_path, name):
    message = sentence("jsonl", jsonl(tmp_path, ROW, {**ROW, name: "Say \ud83d"}))
    assert message.startswith(
        f", line 2: field '{name}' holds half a character, '\\ud83d' at place 5"
    )


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_compressed_files_are_read(tmp_path, pack):
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(pack(json.dumps(ROW).encode()))
    assert len(read("jsonl", path)) == 1


def test_compressed_file_that_is_cut_short_is_named(tmp_path):
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(ROW).encode() * 50)[:40])
    assert "the file is damaged" in sentence("jsonl", path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_that_the_file_shows_are_read(tmp_path, encoding):
    path = tmp_path / "data.csv"
    path.write_bytes("prompt,response\nété,café\n".encode(encoding))
    assert read("csv", path) == [Sample("été", "café")]


def test_cp1252_is_named_with_line_and_read_when_told(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes("prompt,response\na,b\nété,café\n".encode("cp1252"))
    message = sentence("csv", path)
    assert message.startswith(", line 3: expected UTF-8 text")
    assert "In cp1252 it reads 'été,café'" in message
    assert read("csv", path, encoding="cp1252")[1] == Sample("été", "café")


def test_unknown_encoding_is_named(tmp_path):
    assert "'klingon' is no encoding" in sentence("jsonl", jsonl(tmp_path, ROW), encoding="klingon")


@pytest.mark.parametrize(
    "text",
    ["prompt;response\na, b;c\n", "sep=;\nprompt;response\na, b;c\n", "Prompt |Response\na, b|c\n"],
)
def test_other_delimiters_and_cases_of_the_header_are_read(tmp_path, text):
    path = tmp_path / "data.csv"
    path.write_text(text)
    assert read("csv", path) == [Sample("a, b", "c")]


def test_column_that_is_there_twice_is_named(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("prompt,response,response\na,b,c\n")
    assert "has the column 'response' twice" in sentence("csv", path)


def test_very_long_csv_field_is_read(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(f"prompt,response\na,{'b' * 200_000}\n")
    assert len(read("csv", path)[0].response) == 200_000


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_key_that_is_there_twice_is_named(tmp_path, name):
    path = tmp_path / f"data.{name}"
    row = '{"instruction": "a", "response": "b", "response": "c"}'
    path.write_text(f"[{row}]" if name == "json" else row)
    assert "1: the key 'response' is there twice" in sentence(name, path)


def test_number_of_5000_digits_beside_the_text_is_no_matter(tmp_path):
    row = '{"instruction": "a", "response": "b", "id": ' + "7" * 5000 + "}"
    assert read("jsonl", jsonl(tmp_path, row)) == [Sample("a", "b")]


def test_number_of_5000_digits_as_text_is_named(tmp_path):
    row = '{"instruction": "a", "response": ' + "7" * 5000 + "}"
    assert "'a number of 5000 digits'" in sentence("jsonl", jsonl(tmp_path, row))


@pytest.mark.parametrize("depth", [900, 200_000])
@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_deep_nesting_is_one_sentence(tmp_path, name, depth):
    path = tmp_path / f"data.{name}"
    row = '{"instruction": "a", "response": ' + "[" * depth + "]" * depth + "}"
    path.write_text(f"[{row}]" if name == "json" else row)
    with pytest.raises(DataError):
        read(name, path)

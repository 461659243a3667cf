import hashlib
import json

import pytest

from fedsafe.contracts import Sample, sources
from fedsafe.data.sources import fingerprint
from fedsafe.errors import DataError
from tests.unit.fedsafe.data.files import ROW, jsonl, read, sentence
from tests.unit.fedsafe.data.styles import SHARED


def test_json_list_is_read(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps([ROW, ROW]))
    assert len(read("json", path)) == 2


def test_json_list_under_a_key_is_read(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"version": 1, "rows": [ROW]}))
    assert len(read("json", path, key="rows")) == 1


def test_csv_is_read_with_quotes_and_line_breaks(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('prompt,response\n"Say, please","one\ntwo"\n', encoding="utf-8-sig")
    assert read("csv", path) == [Sample("Say, please", "one\ntwo")]


def test_tsv_is_split_at_tabs(tmp_path):
    path = tmp_path / "data.tsv"
    path.write_text("prompt\tresponse\na, b\tc\n")
    assert read("csv", path) == [Sample("a, b", "c")]


def test_parquet_is_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "data.parquet"
    pandas.DataFrame([ROW]).to_parquet(path)
    assert read("parquet", path) == [Sample("Name a fruit.", "An apple.")]


def test_limit_takes_the_first(tmp_path):
    rows = [{"instruction": str(n), "response": "x"} for n in range(9)]
    found = read("jsonl", jsonl(tmp_path, *rows), limit=2)
    assert [example.instruction for example in found] == ["0", "1"]


def test_shuffled_limit_is_a_sample_that_the_seed_decides(tmp_path):
    path = jsonl(tmp_path, *({"instruction": str(n), "response": "x"} for n in range(99)))
    one, same, other = (read("jsonl", path, seed, limit=5, shuffle=True) for seed in (1, 1, 2))
    assert one == same != other


def test_missing_file_is_named(tmp_path):
    message = sentence("jsonl", tmp_path / "none.jsonl")
    assert message.startswith(": expected a data file, got nothing. Relative paths start from")


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "parquet"])
def test_empty_file_is_named(tmp_path, name):
    path = tmp_path / f"data.{name}"
    path.touch()
    assert sentence(name, path) == ": the file is empty. Give one with examples."


def test_broken_line_17_is_named(tmp_path):
    path = jsonl(tmp_path, *[ROW] * 16, '{"instruction": "a", "response": }', ROW)
    assert sentence("jsonl", path) == (
        ", line 17, column 34: expected one JSON object, got "
        """'{"instruction": "a", "response": }' (Expecting value). """
        "Correct the line, or delete it."
    )


def test_blank_lines_count_as_lines(tmp_path):
    assert ", line 3" in sentence("jsonl", jsonl(tmp_path, ROW, "", "{"))


def test_broken_json_names_the_line(tmp_path):
    path = tmp_path / "data.json"
    path.write_text('[\n{"instruction": "a",\n"response" "b"}]')
    assert sentence("json", path).startswith(", line 3, column 12: expected JSON, got ")


def test_json_lines_in_a_json_file_point_to_jsonl(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(f"{json.dumps(ROW)}\n{json.dumps(ROW)}")
    assert "use the source 'jsonl'" in sentence("json", path)


def test_json_list_in_a_jsonl_file_points_to_json(tmp_path):
    assert "use the source 'json'" in sentence("jsonl", jsonl(tmp_path, json.dumps([ROW])))


def test_json_object_asks_for_the_key(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"version": 1, "rows": []}))
    assert "the keys version, rows. Name the key" in sentence("json", path)


def test_row_that_is_no_object_is_named(tmp_path):
    message = sentence("jsonl", jsonl(tmp_path, ROW, '"text"'))
    assert message.startswith(", line 2: expected an object with fields, got text")


def test_csv_row_with_more_fields_is_named(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("prompt,response\na,b\nc,d,e\n")
    assert sentence("csv", path).startswith(
        ", line 3: expected 2 fields as in the header (prompt, response), got more."
    )


def test_text_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(json.dumps(ROW).encode() + b"\n" + b'{"instruction": "\xff"}\n')
    assert "expected UTF-8 text" in sentence("jsonl", path)


def test_file_that_is_no_parquet_is_named(tmp_path):
    path = tmp_path / "data.parquet"
    path.write_text("not parquet")
    assert sentence("parquet", path).startswith(": expected a parquet file (")


def test_hub_without_a_connection_is_one_sentence(monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"'nobody/none' \(split 'train'\) cannot be loaded: .*"):
        read("hub", "nobody/none")


def test_real_instructions_are_read():
    path = SHARED / "instructions" / "instruction-data.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    assert len(read("json", path)) == 1100


def test_micro_draws_what_the_seed_says():
    micro = sources["micro"].configure({"count": 20})
    assert micro(1) == micro(1) != micro(2)


def test_micro_examples_have_topics():
    found = sources["micro"].configure({"count": 20, "topics": ["kitchen"]})(0)
    assert {example.topic for example in found} == {"kitchen"}


def test_fingerprint_tells_where_a_field_ends():
    assert fingerprint([Sample("ab", "c")]) != fingerprint([Sample("a", "bc")])


def test_fingerprint_is_the_hash_of_the_fields():
    expected = hashlib.sha256(b'["a", "b", "", "", "benign"]\n').hexdigest()
    assert fingerprint([Sample("a", "b")]) == expected


def test_json_that_is_no_list_is_named(tmp_path):
    path = tmp_path / "data.json"
    path.write_text('"text"')
    assert sentence("json", path) == ": expected a list of objects, got text '\"text\"'."


def test_csv_with_a_broken_quote_is_named(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('prompt,response\n"a"b,c\n')
    assert sentence("csv", path).startswith(", line 2: broken CSV (")


def test_data_with_nothing_but_empty_rows_is_said(tmp_path):
    path = jsonl(tmp_path, {**ROW, "response": ""})
    with pytest.raises(DataError, match="no examples"):
        read("jsonl", path, skip_empty=True)


def test_hub_reads_a_folder_in_the_hub_s_layout(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    jsonl(folder, ROW)
    assert read("hub", str(folder)) == [Sample("Name a fruit.", "An apple.")]

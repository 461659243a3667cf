"""Records with a checksum: what was changed since it was written is an error."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsafe.errors import RunError
from fedsafe.runs.checksums import FIELD, read_sealed, sealed, verified, write_sealed

TEXT = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(TEXT.filter(lambda name: name != FIELD), JSON, max_size=4)


@given(RECORDS)
def test_record_comes_back(record: dict[str, Any]) -> None:
    text = json.dumps(sealed(record))
    assert verified(json.loads(text), Path("record.json")) == record


@given(RECORDS, TEXT.filter(lambda name: name != FIELD), JSON)
def test_changed_record_is_an_error(record: dict[str, Any], name: str, value: Any) -> None:
    changed = {**sealed(record), name: value}
    if json.dumps({**record, name: value}, sort_keys=True) != json.dumps(record, sort_keys=True):
        with pytest.raises(RunError, match=r"record\.json was changed or damaged"):
            verified(changed, Path("record.json"))


def test_record_of_an_earlier_version_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}', encoding="utf-8")
    assert read_sealed(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00"])
def test_file_without_a_record_is_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"a\.json cannot be read"):
        read_sealed(tmp_path / "a.json")


def test_written_record_is_whole(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", {"a": [1.5, "é", None]})
    assert read_sealed(tmp_path / "a.json") == {"a": [1.5, "é", None]}

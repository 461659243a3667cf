"""One reader for tables of every form, compressed or plain, and what it says of broken ones."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pandas
import pytest

from fedsafe.contracts import generators
from fedsafe.data.tables import read_table
from fedsafe.errors import DataError

ROWS = [{"goal": "Sing, please", "target": "La\nla"}, {"goal": "Déjà vu", "target": "Oui"}]
PLAIN = 'goal,target\n"Sing, please","La\nla"\nDéjà vu,Oui\n'
TEXTS = {
    "csv": PLAIN,
    "tsv": 'goal\ttarget\nSing, please\t"La\nla"\nDéjà vu\tOui\n',
    "json": json.dumps(ROWS, ensure_ascii=False),
    "jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS),
}
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def rows(path: Path, **settings: str) -> list[dict[str, str]]:
    return [dict(row) for _, row in read_table(path, **settings)]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("form", TEXTS)
def test_the_same_rows_in_every_form(tmp_path: Path, form: str, packed: str) -> None:
    path = written(tmp_path / f"a.{form}{packed}", PACK[packed](TEXTS[form].encode()))
    assert rows(path) == ROWS


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_parquet_too(tmp_path: Path, packed: str) -> None:
    plain = tmp_path / "a.parquet"
    pandas.DataFrame(ROWS).to_parquet(plain)
    path = written(tmp_path / f"b.parquet{packed}", PACK[packed](plain.read_bytes()))
    assert rows(path) == ROWS


def test_objects_a_line_in_a_json_file(tmp_path: Path) -> None:
    assert rows(written(tmp_path / "a.json", TEXTS["jsonl"].encode())) == ROWS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_the_first_bytes_tell_the_encoding(tmp_path: Path, encoding: str) -> None:
    assert rows(written(tmp_path / "a.csv", PLAIN.encode(encoding))) == ROWS


def test_a_named_encoding_is_used(tmp_path: Path) -> None:
    assert rows(written(tmp_path / "a.csv", PLAIN.encode("latin-1")), encoding="latin-1") == ROWS


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", PLAIN.encode("latin-1"), r"a\.csv, line 4: expected UTF-8 .*'encoding'"),
        ("a.csv", b"goal\na\n\xff\xfe\n", r"a\.csv, line 3: expected UTF-8"),
        ("a.csv", "goal\na\nb\n".encode("utf-16")[:-1], r"a\.csv, line 3: expected utf-16"),
        ("a.xlsx", b"PK", r"a\.xlsx: expected a file that ends in \.csv.*got '\.xlsx'"),
        ("a.txt", b"one\n", r"a\.txt: expected a file that ends in"),
        ("a.csv.gz", b"\x1f\x8b\x08", r"a\.csv\.gz: the file is damaged"),
        (
            "a.parquet.gz",
            gzip.compress(b"PAR1" * 99, mtime=0)[:-9],
            r"a\.parquet\.gz: the file is damaged",
        ),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        rows(written(tmp_path / name, data))
    assert "\n" not in str(caught.value)


def test_a_truncated_archive_says_after_which_line(tmp_path: Path) -> None:
    text = "goal,target\n" + "".join(f"a{n * 7919 % 10**6},b{n}\n" for n in range(5000))
    path = written(tmp_path / "a.csv.gz", gzip.compress(text.encode())[:-2000])
    with pytest.raises(DataError, match=r"a\.csv\.gz, after line \d{4}: the file is damaged"):
        rows(path)


@pytest.mark.parametrize(("form", "packed"), [("tsv", ".gz"), ("jsonl", ".xz"), ("csv", "")])
def test_generator_file_reads_them_too(tmp_path: Path, form: str, packed: str) -> None:
    import random

    path = written(tmp_path / f"a.{form}{packed}", PACK[packed](TEXTS[form].encode()))
    fields = {"instruction": "goal", "response": "target"}
    made = generators["file"].configure({"path": path, "fields": fields})(None, random.Random(0))
    assert {sample.instruction for sample in made} == {row["goal"] for row in ROWS}

"""Read a table of any common form: CSV, TSV, JSON, JSONL, parquet or text, compressed or plain.

The file's name says which; ``.json`` that holds one object a line is read as such.
Knows nothing of what rows mean.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from fedsafe.data.reading import Row, read_csv, read_json, read_jsonl, read_parquet
from fedsafe.data.text_files import check_file, suffix_of, text_lines
from fedsafe.errors import DataError

TABLES: Final = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
"""Suffixes of tables; ``.gz``, ``.bz2`` or ``.xz`` may follow."""
LINES: Final = ".txt"
"""Suffix of files with one text a line, which is read as the field ``text``."""


def read_table(
    path: Path, *, encoding: str = "", key: str = "", delimiter: str = "", lines: bool = False
) -> Iterator[Row]:
    """Yield where each row stands, and its fields.

    Args:
        path: The file; its name says its form.
        encoding: Of text; empty: UTF-8, or what the first bytes say.
        key: Key that holds the list, if a JSON file is an object.
        delimiter: Of CSV; empty: the header tells.
        lines: Whether ``.txt`` files are read too, each line as the field ``text``.

    Raises:
        DataError: The file is missing, broken, in another encoding, or of a form that is not
            known.
    """
    suffix = suffix_of(path)
    if suffix in (".csv", ".tsv"):
        return read_csv(path, delimiter, encoding)
    if suffix in (".jsonl", ".ndjson") or (
        suffix == ".json" and _has_an_object_a_line(path, encoding)
    ):
        return read_jsonl(path, encoding)
    if suffix == ".json":
        return read_json(path, key, encoding)
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix == LINES and lines:
        return _read_lines(path, encoding)
    check_file(path)
    known = [*TABLES, *([LINES] if lines else [])]
    raise DataError(
        f"{path}: expected a file that ends in {', '.join(known)} (.gz may follow), got "
        f"'{''.join(path.suffixes[-2:])}'. Rename the file, or convert it."
    )


def _has_an_object_a_line(path: Path, encoding: str) -> bool:
    """Tell whether two lines of a file are a JSON object each."""
    with text_lines(path, encoding) as lines:
        first = list(islice((line.strip() for line in lines if line.strip()), 2))
    return len(first) == 2 and all(line[0] == "{" and line[-1] == "}" for line in first)


def _read_lines(path: Path, encoding: str) -> Iterator[Row]:
    with text_lines(path, encoding) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{path}, line {number}", {"text": line.strip()}

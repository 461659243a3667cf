"""Read JSON, JSONL, CSV, parquet and hub rows; errors name file, line and field.

JSON, JSONL and CSV are read with the standard library, whose errors know the line;
parquet and the hub through Hugging Face datasets. Knows nothing of what rows mean.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, Final

from fedsafe.data.json_values import duplicate_key, parse
from fedsafe.data.text_files import COMPRESSED, check_file, suffix_of, text_lines, unpacked
from fedsafe.errors import DataError, reason_of

Row = tuple[str, Mapping[str, Any]]
"""Where it stands (file and line or row) and its fields."""
DELIMITERS: Final = (",", ";", "\t", "|")
LARGEST_FIELD: Final = 2**31 - 1
"""Characters of a CSV field."""


def read_json(path: Path, key: str = "", encoding: str = "") -> Iterator[Row]:
    """Yield the objects of a JSON list, which may lie under a key.

    Raises:
        DataError: The file is missing, empty, broken, or no list of objects.
    """
    with text_lines(path, encoding) as lines:
        text = "".join(lines)
    try:
        value = parse(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise DataError(
                f"{path}, line {error.lineno}: a second JSON value follows the first. If the file "
                "has one object a line, use the source 'jsonl'."
            ) from None
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: expected JSON, got "
            f"{_quoted(text, error.lineno)} ({error.msg}). Correct the file."
        ) from None
    if isinstance(value, dict):
        value = _under(path, value, key)
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a list of objects, got {_kind(value)}.")
    for number, row in enumerate(value, 1):
        yield _object(f"{path}, row {number}", row)


def read_jsonl(path: Path, encoding: str = "") -> Iterator[Row]:
    """Yield the objects of a file with one JSON object a line; blank lines are skipped.

    Raises:
        DataError: The file is missing or empty, or a line is no object.
    """
    with text_lines(path, encoding) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                value = parse(line.rstrip("\r\n"))
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{where}, column {error.colno}: expected one JSON object, got "
                    f"{_short(line)} ({error.msg}). Correct the line, or delete it."
                ) from None
            if number == 1 and isinstance(value, list):
                raise DataError(
                    f"{where}: expected one JSON object a line, got a list. If the file is one "
                    "JSON list, use the source 'json'."
                )
            yield _object(where, value)


def read_csv(path: Path, delimiter: str = "", encoding: str = "") -> Iterator[Row]:
    """Yield the rows of a CSV file with a header.

    Without a delimiter given, the header tells: a comma (in ``.tsv`` files a tab), else
    what it has of semicolon, tab and bar; a first line ``sep=;``, as Excel writes it, is
    followed.

    Raises:
        DataError: The file is missing, empty, or a row does not fit the header.
    """
    csv.field_size_limit(LARGEST_FIELD)
    with text_lines(path, encoding) as lines:
        numbered = _Numbered(lines)
        first = next((line for line in numbered if line.strip()), "")
        if named := re.fullmatch(r"sep=(.)\s*", first):
            delimiter = delimiter or named[1]
            first = next(numbered, "")
        delimiter = _delimiter(path, first, delimiter)
        above = numbered.taken - 1
        reader = csv.DictReader(chain([first], numbered), delimiter=delimiter, strict=True)
        try:
            names = _header(path, reader.fieldnames or ())
            reader.fieldnames = names
            for row in reader:
                where = f"{path}, line {above + reader.line_num}"
                if None in row or None in row.values():
                    got = "more" if None in row else "fewer"
                    raise DataError(
                        f"{where}: expected {len(names)} fields as in the header "
                        f"({', '.join(names)}), got {got}. Quote fields that hold a "
                        f"{'comma' if delimiter == ',' else 'delimiter'} or a line break."
                    )
                yield where, row
        except csv.Error as error:
            raise DataError(
                f"{path}, line {numbered.taken}: broken CSV ({error}). Check its quotes."
            ) from None


class _Numbered:
    """Lines, and how many have been taken."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.taken += 1
        return line


def _delimiter(path: Path, header: str, given: str) -> str:
    """Return what separates the fields of a header."""
    if given:
        if len(given) != 1:
            raise DataError(f"{path}: the delimiter must be one character, got {given!r}.")
        return given
    usual = "\t" if suffix_of(path) == ".tsv" else ","
    fields = {mark: len(next(csv.reader([header], delimiter=mark), [])) for mark in DELIMITERS}
    return usual if fields[usual] > 1 else max(DELIMITERS, key=lambda mark: fields[mark])


def _header(path: Path, names: Sequence[str]) -> list[str]:
    """Return the names of a header, which must differ."""
    found = [name.strip() for name in names]
    twice = [name for name, times in Counter(found).items() if name and times > 1]
    if twice:
        raise DataError(f"{path}: the header has the column '{twice[0]}' twice. Rename one.")
    return found


def read_parquet(path: Path) -> Iterator[Row]:
    """Yield the rows of a parquet file, which may be compressed once more.

    Raises:
        DataError: The file is missing, empty, damaged or no parquet.
    """
    check_file(path)
    packed = path.suffix.lower() in COMPRESSED
    import pyarrow.parquet  # type: ignore[import-untyped]
    from datasets import Dataset

    try:
        data = Dataset(pyarrow.parquet.read_table(BytesIO(unpacked(path)) if packed else path))
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: expected a parquet file ({reason_of(error)}).") from None
    for number, row in enumerate(data, 1):
        yield f"{path}, row {number}", row


def read_hub(
    name: str, subset: str | None = None, split: str = "train", revision: str | None = None
) -> Iterator[Row]:
    """Yield the rows of a data set of the Hugging Face hub; code in it is never run.

    Raises:
        DataError: It is not there, not reachable, or has no such split or subset.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from httpx import HTTPError

    try:
        data = load_dataset(name, subset, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, HTTPError, DatasetsError) as error:
        raise DataError(
            f"Data set '{name}' (split '{split}') cannot be loaded: {reason_of(error)}. Check the "
            "name and the connection; without one, download it first and use the source "
            "'json', 'jsonl', 'csv' or 'parquet'."
        ) from None
    for number, row in enumerate(data, 1):
        yield f"{name}, row {number}", row


def _under(path: Path, value: dict[str, Any], key: str) -> Any:
    if key in value:
        if key == duplicate_key(value):
            raise DataError(f"{path}: the key '{key}' is there twice. Rename or delete one.")
        return value[key]
    keys = ", ".join(list(value)[:8])
    raise DataError(
        f"{path}: expected a list of objects, got one object with the keys {keys}. "
        "Name the key that holds the list in the setting 'key'."
    )


def _object(where: str, value: object) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected an object with fields, got {_kind(value)}.")
    if key := duplicate_key(value):
        raise DataError(
            f"{where}: the key '{key}' is there twice, with different values. Rename or delete one."
        )
    return where, value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "null"}
    return f"{names.get(type(value), type(value).__name__)} {_short(shown(value))}"


def shown(value: object) -> str:
    """Return the beginning of a value as JSON, whatever it is."""
    if isinstance(value, str):
        return json.dumps(value[:60])
    try:
        return json.dumps(value, default=str)
    except (RecursionError, ValueError, TypeError):
        return f"a {type(value).__name__} that is nested too deeply to show"


def _quoted(text: str, line: int) -> str:
    lines: Sequence[str] = text.splitlines()
    return _short(lines[line - 1]) if line <= len(lines) else "the end of the file"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 40 else f"{text[:37]}...")

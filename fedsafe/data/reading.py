"""Read files of rows, so that a broken one is named by file and line.

JSON, JSONL and CSV are read with the standard library, whose errors know the line;
parquet and the hub through Hugging Face datasets. Knows nothing of what rows mean.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from fedsafe.errors import DataError

Row = tuple[str, Mapping[str, Any]]
"""Where it stands (file and line or row) and its fields."""


def read_json(path: Path, key: str = "") -> Iterator[Row]:
    """Yield the objects of a JSON list, which may lie under a key.

    Raises:
        DataError: The file is missing, empty, broken, or no list of objects.
    """
    with _open(path) as file:
        text = "".join(_lines(path, file))
    try:
        value = json.loads(text)
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


def read_jsonl(path: Path) -> Iterator[Row]:
    """Yield the objects of a file with one JSON object a line; blank lines are skipped.

    Raises:
        DataError: The file is missing or empty, or a line is no object.
    """
    with _open(path) as file:
        for number, line in enumerate(_lines(path, file), 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                value = json.loads(line)
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


def read_csv(path: Path, delimiter: str = "") -> Iterator[Row]:
    """Yield the rows of a CSV file with a header; ``.tsv`` files are split at tabs.

    Raises:
        DataError: The file is missing, empty, or a row does not fit the header.
    """
    delimiter = delimiter or ("\t" if path.suffix == ".tsv" else ",")
    with _open(path) as file:
        taken = count(1)
        lines = (line for line, _ in zip(_lines(path, file), taken, strict=False))
        reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    got = "more" if None in row else "fewer"
                    raise DataError(
                        f"{where}: expected {len(reader.fieldnames or ())} fields as in the header "
                        f"({', '.join(reader.fieldnames or ())}), got {got}. Quote fields that "
                        "hold a comma or a line break."
                    )
                yield where, row
        except csv.Error as error:
            raise DataError(
                f"{path}, line {next(taken) - 1}: broken CSV ({error}). Check its quotes."
            ) from None


def read_parquet(path: Path) -> Iterator[Row]:
    """Yield the rows of a parquet file.

    Raises:
        DataError: The file is missing, empty or no parquet.
    """
    _check(path)
    import pyarrow.parquet  # type: ignore[import-untyped]
    from datasets import Dataset

    try:
        data = Dataset(pyarrow.parquet.read_table(path))
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: expected a parquet file ({_sentence(error)}).") from None
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
            f"Data set '{name}' (split '{split}') cannot be loaded: {_sentence(error)}. Check the "
            "name and the connection; without one, download it first and use the source "
            "'json', 'jsonl', 'csv' or 'parquet'."
        ) from None
    for number, row in enumerate(data, 1):
        yield f"{name}, row {number}", row


def _open(path: Path) -> TextIO:
    _check(path)
    return path.open(encoding="utf-8-sig", newline="")


def _check(path: Path) -> None:
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing"
        raise DataError(
            f"{path}: expected a data file, got {got}. Relative paths start from {Path.cwd()}."
        )
    if not path.stat().st_size:
        raise DataError(f"{path}: the file is empty. Give one with examples.")


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """Yield the lines, naming the first that is not UTF-8."""
    number = 0
    try:
        for number, line in enumerate(file, 1):  # noqa: B007 - used below
            yield line
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, near line {number + 1}: expected UTF-8 text ({error.reason}). Convert the "
            "file."
        ) from None


def _under(path: Path, value: dict[str, Any], key: str) -> Any:
    if key in value:
        return value[key]
    keys = ", ".join(list(value)[:8])
    raise DataError(
        f"{path}: expected a list of objects, got one object with the keys {keys}. "
        "Name the key that holds the list in the setting 'key'."
    )


def _object(where: str, value: object) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected an object with fields, got {_kind(value)}.")
    return where, value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "null"}
    return f"{names.get(type(value), type(value).__name__)} {_short(json.dumps(value))}"


def _quoted(text: str, line: int) -> str:
    lines: Sequence[str] = text.splitlines()
    return _short(lines[line - 1]) if line <= len(lines) else "the end of the file"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _sentence(error: BaseException) -> str:
    return (" ".join(str(error).split())[:200] or type(error).__name__).rstrip(".")

"""Read a file of prompts in one of the known forms: map columns, filter rows, take some.

Knows nothing of replies or judges.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from fedsafe.contracts import Prompt
from fedsafe.data.cells import find, listed, text_of
from fedsafe.data.reading import Row
from fedsafe.data.tables import read_table
from fedsafe.data.text_files import check_file
from fedsafe.errors import DataError
from fedsafe.evaluation.suite_forms import FORMS, PARTS, FormName, Part, recognised
from fedsafe.evaluation.suite_rows import Reading, prompt_of, stem_of
from fedsafe.plugins import suggestion
from fedsafe.runs.files import file_digest
from fedsafe.seeds import stream

T = TypeVar("T")


@dataclass(frozen=True)
class SuiteFile:
    """The prompts of a file, and what was recognised in it.

    Attributes:
        form: Of the file.
        columns: Column of each part that it has.
        rows: Rows of the file.
        prompts: Prompts that were taken.
    """

    form: FormName
    columns: Mapping[Part, str]
    rows: int
    prompts: list[Prompt]


def read_suite(path: Path, reading: Reading, seed: int = 0) -> SuiteFile:
    """Return the prompts of a file.

    Args:
        path: CSV, TSV, JSON, JSONL, parquet or text, compressed or plain.
        reading: How it is read.
        seed: Of drawn prompts.

    Raises:
        DataError: The file cannot be used; the message names file, line and field.
    """
    check_hash(path, reading.sha256)
    rows = list(
        read_table(
            path,
            encoding=reading.encoding,
            key=reading.key,
            delimiter=reading.delimiter,
            lines=True,
        )
    )
    if not rows:
        raise DataError(f"{path}: the file has no prompts below its header.")
    name = recognised(rows[0][1]) if reading.form == "auto" else reading.form
    columns = columns_of(rows, name, reading.columns)
    make = partial(prompt_of, path, FORMS[name], columns, reading)
    numbered = ((number, *row) for number, row in enumerate(rows, 1))
    taken = [one for one in numbered if _is_taken(one[1], one[2], reading)]
    made = [(where, make(number, (where, row))) for number, where, row in taken]
    placed = [(where, prompt) for where, prompt in made if prompt is not None]
    found = [prompt for _, prompt in placed]
    if not found:
        raise DataError(f"{path}: {_nothing_left(rows, reading)}")
    _check_ids(placed)
    return SuiteFile(name, columns, len(rows), some(path, found, reading, seed))


def check_hash(path: Path, expected: str) -> None:
    """Check that a file is the one that a setting was made for.

    Raises:
        DataError: It is missing, or another.
    """
    if not expected:
        return
    check_file(path)
    found = file_digest(path)
    if found != expected.lower():
        raise DataError(
            f"{path}: expected sha256 {expected.lower()[:12]}..., got {found[:12]}... Use the "
            "file that the setting was made for, or correct the setting 'sha256'."
        )


def columns_of(rows: Sequence[Row], name: FormName, given: Mapping[str, str]) -> dict[Part, str]:
    """Return the column of each part that a file has, in any of its rows.

    Args:
        rows: At least one.
        name: Form of the file.
        given: The user's own names, by part; empty: the part is not read.

    Raises:
        DataError: One that was given, or the prompt's, is not there.
    """
    where, first = rows[0]
    row = dict.fromkeys(column for _, fields in rows for column in fields)
    if unknown := [part for part in given if part not in PARTS]:
        raise DataError(
            f"columns: no part '{unknown[0]}'. There are {', '.join(PARTS)}."
            f"{suggestion(unknown[0], PARTS)}"
        )
    found: dict[Part, str] = {}
    for part in PARTS:
        wanted = (given[part],) if part in given else FORMS[name].columns.get(part, ())
        if wanted == ("",):
            continue
        own = next((own for column in wanted if (own := find(row, column)) is not None), None)
        if own is not None:
            found[part] = own
        elif part in given:
            text_of(where, first, given[part])
        elif part == "prompt":
            raise DataError(
                f"{where}: expected a column of prompts ({', '.join(wanted)}), got "
                f"{listed(first)}. "
                "Name it in the setting 'columns', as {prompt: NAME}."
            )
    return found


def _is_taken(where: str, row: Mapping[str, Any], reading: Reading) -> bool:
    """Tell whether a row passes the filters.

    Raises:
        DataError: It lacks a column of theirs.
    """

    def has(column: str, values: object) -> bool:
        own = find(row, column)
        if own is None:
            raise DataError(
                f"{where}: the filter is on a field '{column}', got {listed(row)}."
                f"{suggestion(column, list(row))}"
            )
        wanted = values if isinstance(values, list | tuple) else (values,)
        return _plain(row[own]) in {_plain(value) for value in wanted}

    if not all(has(column, values) for column, values in reading.where.items()):
        return False
    return not any(has(column, values) for column, values in reading.where_not.items())


def _plain(value: object) -> str:
    return str(value).strip().casefold()


def some(path: Path, found: list[T], reading: Reading, seed: int) -> list[T]:
    """Return as many of what a file has as are wanted: the first, or drawn ones in order."""
    if reading.limit is None or reading.limit >= len(found):
        return found
    if reading.choose == "first":
        return found[: reading.limit]
    places = range(len(found))
    drawn = stream(seed, "suite", stem_of(path)).sample(places, reading.limit)
    return [found[place] for place in sorted(drawn)]


def _check_ids(placed: Iterable[tuple[str, Prompt]]) -> None:
    first: dict[str, str] = {}
    for where, prompt in placed:
        if (earlier := first.setdefault(prompt.id, where)) != where:
            raise DataError(
                f"{where}: the id '{prompt.id}' is that of {earlier} too. Make the ids differ, or "
                "name a column of ids that differ in the setting 'columns', as {id: NAME}; with "
                "{id: ''} rows are numbered."
            )


def _nothing_left(rows: Sequence[Row], reading: Reading) -> str:
    """Say why no prompt is left, with the values that the filters could have."""
    filtered = list(islice(chain(reading.where, reading.where_not), 1))
    if not filtered:
        return f"none of its {len(rows)} rows is for purpose {reading.purpose}."
    column = filtered[0]
    values = Counter(str(row.get(find(row, column) or "")) for _, row in rows)
    known = ", ".join(value for value, _ in values.most_common(8))
    return (
        f"no prompt of its {len(rows)} rows is left by the filters. '{column}' has the values "
        f"{known}."
    )

"""Make a prompt of a row of a file, by the columns of its form.

Knows nothing of files.
"""

import re
from ast import literal_eval
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any, Final, Literal

from fedsafe.contracts import Prompt, Purpose
from fedsafe.data.cells import check_text, find, listed, text_of
from fedsafe.data.reading import Row
from fedsafe.data.text_files import COMPRESSED
from fedsafe.errors import DataError
from fedsafe.evaluation.suite_forms import FORMS, Form, FormName, Part

Value = str | int | float | bool
Where = Mapping[str, Value | Sequence[Value]]
"""Columns, and the value or values that rows are to have there."""
LISTS: Final = frozenset({"turns", "reference"})
"""Columns of MT-Bench that hold lists."""
CONTEXT_RULE: Final = "\n\n---\n\n"
"""Between the context and the behavior of HarmBench's contextual requests."""


@dataclass(frozen=True)
class Reading:
    """How a file of prompts is read.

    Attributes:
        form: Of the file; auto: recognised by the columns of its first row.
        purpose: What the prompts are for; auto: as the form says. Of XSTest, rows of this purpose
            alone are taken.
        columns: Names of columns by part, in place of the form's.
        where: Rows to take: those that have one of the values in each of these columns.
        where_not: Rows to leave out: those that have one of the values in any of these.
        limit: At most so many prompts; None: all.
        choose: Whether the first ones are taken, or drawn ones in the file's order.
        prefill: Beginning of compliant replies of harmful prompts without one of their own.
        skill: Skill of utility prompts.
        name: Beginning of the prompts' ids; empty: the file's name without its suffixes.
        encoding: Of text; empty: UTF-8, or what the first bytes say.
        key: Key that holds the list, if a JSON file is an object.
        delimiter: Of CSV; empty: the header tells.
        sha256: Expected hash of the file; empty: it is not checked.
    """

    form: FormName | Literal["auto"] = "auto"
    purpose: Purpose | Literal["auto"] = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    where: Where = field(default_factory=dict)
    where_not: Where = field(default_factory=dict)
    limit: int | None = None
    choose: Literal["first", "drawn"] = "first"
    prefill: str = ""
    skill: str = "old"
    name: str = ""
    encoding: str = ""
    key: str = ""
    delimiter: str = ""
    sha256: str = ""


def prompt_of(
    path: Path,
    form: Form,
    columns: Mapping[Part, str],
    reading: Reading,
    number: int,
    placed: Row,
) -> Prompt | None:
    """Return the prompt of a row; None where it is for another purpose than is wanted.

    Args:
        path: The file.
        form: Of the file.
        columns: Column of each part that it has.
        reading: How it is read.
        number: Of the row, from 1.
        placed: Where the row stands, and its fields.

    Raises:
        DataError: A field cannot be used; the message names it.
    """
    where, row = placed
    purpose = _purpose(path, form, reading, where, row)
    if purpose is None:
        return None
    text = partial(_text, where, row, columns)
    own_id = text("id").strip() or f"{number:04}"
    harmful, utility = purpose == "harmful", purpose == "utility"
    return Prompt(
        id=f"{reading.name or stem_of(path)}-{own_id}",
        instruction=_after(text("context").strip(), prompt_text(where, row, columns["prompt"])),
        purpose=purpose,
        input=text("input"),
        expected=() if harmful else _expected(where, row, columns, needed=utility),
        topic=text("topic").strip(),
        skill=reading.skill if utility else "",
        prefill=(text("prefill").strip() or reading.prefill) if harmful else "",
        system=text("system"),
        group=text("group").strip(),
    )


def _after(context: str, behavior: str) -> str:
    """Return a behavior after its context, as HarmBench's direct requests put them."""
    return f"{context}{CONTEXT_RULE}{behavior}" if context else behavior


def prompt_text(where: str, row: Mapping[str, Any], column: str) -> str:
    """Return the prompt of a row: a text, or the first of a list of turns.

    Raises:
        DataError: There is none, or it is empty.
    """
    value = _value(where, row, column)
    if isinstance(value, list) and value and isinstance(value[0], str):
        check_text(where, column, value[0])
        text = value[0].strip()
    else:
        text = text_of(where, row, column).strip()
    if not text:
        raise DataError(
            f"{where}: the prompt in '{column}' is empty. Fill it in or delete the row."
        )
    return text


def right_answers(where: str, row: Mapping[str, Any], column: str) -> tuple[str, ...]:
    """Return the right answers of a row: a text, or a list of them.

    Raises:
        DataError: There is none, or it is no text, or it is empty.
    """
    value = _value(where, row, column)
    if isinstance(value, list) and value and all(isinstance(answer, str) for answer in value):
        for one in value:
            check_text(where, column, one)
        return tuple(value)
    answer = text_of(where, row, column)
    if not answer.strip():
        raise DataError(f"{where}: the expected answer in '{column}' is empty. Fill it in.")
    return (answer,)


def _value(where: str, row: Mapping[str, Any], column: str) -> Any:
    """Return a field; a list that CSV holds as text, in the columns of MT-Bench, as a list.

    Raises:
        DataError: The text begins like a list and is none.
    """
    value = row.get(find(row, column) or column)
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    if column.strip().casefold() not in LISTS:
        return value
    try:
        found = literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, list) or re.search(r"['\"]\s+['\"]", value):  # 'a' 'b' reads as 'ab'
        raise DataError(
            f"{where}: expected a list of texts with commas in field '{column}', got "
            f'{value[:40]!r}. Write it as JSON, such as ["first", "second"], or use JSONL.'
        )
    return found


def stem_of(path: Path) -> str:
    """Return a file's name without its suffix and that of its compression."""
    last = path.suffix.lower()
    return Path(path.stem).stem if last in COMPRESSED else path.stem


def _purpose(
    path: Path, form: Form, reading: Reading, where: str, row: Mapping[str, Any]
) -> Purpose | None:
    wanted = reading.purpose
    if form is FORMS["xstest"] and form.purpose is not None:
        if wanted not in ("auto", "harmful", "over-refusal"):
            raise DataError(
                f"{path}: XSTest's prompts are for over-refusal or harmful, got purpose {wanted}."
            )
        own = form.purpose(where, row, path)
        return own if wanted in ("auto", own) else None
    if wanted != "auto":
        return wanted
    if form.purpose is None:
        raise DataError(
            f"{path}: the columns do not tell what its prompts are for. Set purpose to harmful, "
            "benign, over-refusal or utility."
        )
    return form.purpose(where, row, path)


def _text(where: str, row: Mapping[str, Any], columns: Mapping[Part, str], part: Part) -> str:
    """Return an optional text of a row; numbers are taken where they name something."""
    if part not in columns:
        return ""
    value = row.get(find(row, columns[part]) or "")
    if _is_empty(value) and not isinstance(value, int):
        return ""
    if part in ("id", "topic", "group") and isinstance(value, int | float):
        return str(value)
    return text_of(where, row, columns[part], optional=True)


def _is_empty(value: object) -> bool:
    """Tell whether a field holds nothing; pandas writes that as NaN."""
    return not value or (isinstance(value, float) and isnan(value))


def _expected(
    where: str, row: Mapping[str, Any], columns: Mapping[Part, str], *, needed: bool
) -> tuple[str, ...]:
    names = FORMS["plain"].columns["expected"]
    tried = (columns["expected"], *names) if "expected" in columns else names
    column = next((name for name in tried if find(row, name) is not None), "")
    if needed and not column:
        raise DataError(
            f"{where}: expected a field '{tried[0]}' with the right answer of a utility prompt (or "
            f"{', '.join(dict.fromkeys(tried[1:]))}), got {listed(row)}. Name it in the setting "
            "'columns', as {expected: NAME}, or use purpose: benign."
        )
    if not needed and ("expected" not in columns or _is_empty(_value(where, row, column))):
        return ()
    answers = right_answers(where, row, column)
    return answers if needed else answers[:1]

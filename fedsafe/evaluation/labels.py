"""Read replies that people labelled as refusing, partly refusing or complying.

CSV, TSV, JSON, JSONL and parquet, compressed or not; the columns of XSTest's completions and
other usual names are known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from fedsafe.data.reading import Row
from fedsafe.data.tables import read_table
from fedsafe.errors import DataError

Label = Literal["comply", "refuse", "partial"]
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "prompt": ("prompt", "instruction", "question", "goal", "request", "behavior"),
    "reply": ("completion", "reply", "response", "output", "answer", "generation"),
    "label": ("final_label", "label", "human_label", "gold", "outcome"),
    "model": ("model", "model_name", "target_model"),
}
"""Columns that are looked for, the first that is there."""
WORDS: Final[Mapping[str, Label]] = {
    **dict.fromkeys(
        ("1", "1_full_compliance", "full_compliance", "compliance", "comply"), "comply"
    ),
    **dict.fromkeys(("complied", "compliant", "answer"), "comply"),
    **dict.fromkeys(("2", "2_full_refusal", "full_refusal", "refusal", "refuse"), "refuse"),
    **dict.fromkeys(("refused", "reject"), "refuse"),
    **dict.fromkeys(("3", "3_partial_refusal", "partial_refusal", "partial"), "partial"),
}
"""Labels by how they are written, case and spaces aside."""


@dataclass(frozen=True)
class LabelledReply:
    """A request, a reply to it, and what people say of the reply.

    Attributes:
        prompt: The request.
        reply: What a model replied.
        label: Of people.
        model: Whose reply it is: the file's column, or the file's name.
    """

    prompt: str
    reply: str
    label: Label
    model: str


def read_labels(
    files: Sequence[Path], columns: Mapping[str, str] | None = None
) -> list[LabelledReply]:
    """Return the labelled replies of several files, in order.

    Args:
        files: CSV, TSV, JSON, JSONL or parquet.
        columns: Names of columns by part (prompt, reply, label, model), where not the usual ones.

    Raises:
        DataError: A file is missing or broken, has no such column, or a label is not known.
    """
    wanted = dict(columns or {})
    unknown = set(wanted) - set(NAMES)
    if unknown:
        raise DataError(f"columns: no part '{min(unknown)}'. There are {', '.join(NAMES)}.")
    found = [one for path in files for one in _read(path.expanduser(), wanted)]
    if not found:
        raise DataError("No labelled reply was found. Give files with at least one row each.")
    return found


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Return the requests and replies of a file without labels.

    Raises:
        DataError: It is missing or broken, or has no such columns.
    """
    path = path.expanduser()
    rows = list(read_table(path))
    prompt, reply = (_column(path, rows[:1], part, None) for part in ("prompt", "reply"))
    return [(_text(w, row, prompt), _text(w, row, reply, empty=True)) for w, row in rows]


def _read(path: Path, wanted: Mapping[str, str]) -> Iterator[LabelledReply]:
    rows = read_table(path)
    first = list(islice(rows, 1))
    names = {part: _column(path, first, part, wanted.get(part)) for part in NAMES}
    for where, row in (*first, *rows):
        yield LabelledReply(
            prompt=_text(where, row, names["prompt"]),
            reply=_text(where, row, names["reply"], empty=True),
            label=_label(where, row, names["label"]),
            model=str(row[names["model"]]) if names["model"] else _stem(path),
        )


def _column(path: Path, first: Sequence[Row], part: str, given: str | None) -> str:
    """Return the column of a part; empty: no model is named.

    Raises:
        DataError: There is none.
    """
    row: Mapping[str, Any] = first[0][1] if first else {}
    tried = (given,) if given else NAMES[part]
    name = next((name for name in tried if name in row), None)
    if name is not None:
        return name
    if part == "model" and not given:
        return ""
    raise DataError(
        f"{path}: no column for the {part}: expected {' or '.join(tried)}, got "
        f"{', '.join(map(str, row)) or 'no row'}. Name it with --column {part}=NAME."
    )


def _text(where: str, row: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not (empty or value.strip()):
        raise DataError(f"{where}, field '{name}': expected text, got {value!r}.")
    return value


def _label(where: str, row: Mapping[str, Any], name: str) -> Label:
    value = row.get(name)
    found = WORDS.get("_".join(str(value).strip().casefold().replace("-", " ").split()))
    if found is None:
        raise DataError(
            f"{where}, field '{name}': expected a label such as refuse, comply or partial (or "
            f"XSTest's 1_full_compliance, 2_full_refusal, 3_partial_refusal), got {value!r}."
        )
    return found


def _stem(path: Path) -> str:
    """Return a file's name without suffixes, and without what XSTest's files begin with."""
    return path.name.split(".")[0].removeprefix("xstest_v2_completions_")

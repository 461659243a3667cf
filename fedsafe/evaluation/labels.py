"""Read replies that people labelled as refusing, partly refusing or complying.

CSV, TSV, JSON, JSONL and parquet, compressed or not; the columns of XSTest's completions and
other usual names are known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from fedsafe.data.cells import check_text, find, listed
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
    files: Sequence[Path],
    columns: Mapping[str, str] | None = None,
    *,
    encoding: str = "",
    key: str = "",
) -> list[LabelledReply]:
    """Return the labelled replies of several files, in order.

    Args:
        files: CSV, TSV, JSON, JSONL or parquet.
        columns: Names of columns by part (prompt, reply, label, model), where not the usual ones.
        encoding: Of text; empty: UTF-8, or UTF-16 where a file says so.
        key: Key of the list, if a JSON file is an object.

    Raises:
        DataError: A file is missing, broken or given twice, has no such column, or a label is not
            known.
    """
    wanted = dict(columns or {})
    unknown = set(wanted) - set(NAMES)
    if unknown:
        raise DataError(f"columns: no part '{min(unknown)}'. There are {', '.join(NAMES)}.")
    found = []
    paths = [file.expanduser() for file in files]
    for number, path in enumerate(paths):
        if path.resolve() in {earlier.resolve() for earlier in paths[:number]}:
            raise DataError(f"{path}: the file is given twice. Its replies would count twice.")
        rows = _rows(path, encoding, key)
        names = {part: _column(rows, part, wanted.get(part)) for part in NAMES}
        found += [_labelled(path, where, row, names) for where, row in rows]
    return found


def read_pairs(path: Path, *, encoding: str = "", key: str = "") -> list[tuple[str, str]]:
    """Return the requests and replies of a file without labels.

    Raises:
        DataError: It is missing or broken, or has no such columns.
    """
    rows = _rows(path.expanduser(), encoding, key)
    prompt, reply = (_column(rows, part, None) for part in ("prompt", "reply"))
    return [(_text(w, row, prompt), _text(w, row, reply, empty=True)) for w, row in rows]


def _rows(path: Path, encoding: str, key: str) -> list[Row]:
    rows = list(read_table(path, encoding=encoding, key=key))
    if not rows:
        raise DataError(f"{path}: the file has no rows. Give one with at least one reply.")
    return rows


def _labelled(
    path: Path, where: str, row: Mapping[str, Any], names: Mapping[str, str]
) -> LabelledReply:
    model = row.get(find(row, names["model"]) or "") if names["model"] else None
    return LabelledReply(
        prompt=_text(where, row, names["prompt"]),
        reply=_text(where, row, names["reply"], empty=True),
        label=_label(where, row, names["label"]),
        model=str("" if model is None else model).strip() or _stem(path),
    )


def _column(rows: Sequence[Row], part: str, given: str | None) -> str:
    """Return the column of a part that any row has; empty: no model is named.

    Raises:
        DataError: There is none.
    """
    where, first = rows[0]
    every = dict.fromkeys(name for _, row in rows for name in row)
    tried = (given,) if given else NAMES[part]
    own = next((own for name in tried if (own := find(every, name)) is not None), None)
    if own is not None:
        return own
    if part == "model" and not given:
        return ""
    raise DataError(
        f"{where}: no column for the {part}: expected {' or '.join(tried)}, got {listed(first)}. "
        f"Name it with --column {part}=NAME."
    )


def _text(where: str, row: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    value = row.get(find(row, name) or name)
    if not isinstance(value, str) or not (empty or value.strip()):
        raise DataError(f"{where}, field '{name}': expected text, got {value!r:.60}.")
    check_text(where, name, value)
    return value


def _label(where: str, row: Mapping[str, Any], name: str) -> Label:
    value = row.get(find(row, name) or name)
    said = str(value).strip().casefold().removesuffix(".0")  # how pandas writes numbers
    found = WORDS.get("_".join(said.replace("-", " ").split()))
    if found is None:
        raise DataError(
            f"{where}, field '{name}': expected a label such as refuse, comply or partial (or "
            f"XSTest's 1_full_compliance, 2_full_refusal, 3_partial_refusal), got {value!r:.60}."
        )
    return found


def _stem(path: Path) -> str:
    """Return a file's name without suffixes, and without what XSTest's files begin with."""
    return path.name.split(".")[0].removeprefix("xstest_v2_completions_")

"""Sets of prompts with a purpose: what an evaluation asks.

Sets with harmful prompts are the user's own; none travels with FedSafe. Knows nothing
of replies or judges.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

import fedsafe.evaluation.policy_suites  # noqa: F401 - registers
from fedsafe.contracts import Prompt, Purpose, suites
from fedsafe.data.cells import check_text, text_of
from fedsafe.data.reading import read_csv, read_json
from fedsafe.errors import DataError
from fedsafe.evaluation import micro_suites

__all__ = ["csv_file", "micro_suites", "utility", "xstest"]

File = Annotated[Path, Field(description="The file; relative to where the command is run.")]
Hash = Annotated[
    str,
    Field(pattern=r"^([0-9a-fA-F]{64})?$", description="Expected sha256; empty: not checked."),
]
Limit = Annotated[int | None, Field(ge=1, description="Only the first so many; null: all.")]
Prefill = Annotated[str, Field(description="How replies begin in the prefilled variant.")]

EXPECTED: Final = ("expected", "answer", "output", "response")
"""Names of the field with the right answer, the first that is there."""
LABELS: Final[Mapping[str, Purpose]] = {"safe": "over-refusal", "unsafe": "harmful"}


@suites("csv")
def csv_file(
    seed: int,
    /,
    *,
    path: File,
    purpose: Annotated[Purpose, Field(description="What the prompts are for.")],
    column: Annotated[str, Field(description="Column with the prompts.")] = "prompt",
    topic_column: Annotated[str, Field(description="Column with topics; empty: none.")] = "",
    prefill_column: Annotated[
        str, Field(description="Column with beginnings of compliant replies; empty: none.")
    ] = "",
    prefill: Prefill = "",
    sha256: Hash = "",
    limit: Limit = None,
) -> list[Prompt]:
    """Read the user's own CSV file of prompts.

    Raises:
        DataError: The file cannot be used; the message names file, line and column.
    """
    _check_hash(path, sha256)
    found = [
        Prompt(
            id=f"{path.stem}-{number:04}",
            instruction=_prompt(where, row, column),
            purpose=purpose,
            topic=text_of(where, row, topic_column) if topic_column else "",
            prefill=text_of(where, row, prefill_column) if prefill_column else prefill,
        )
        for number, (where, row) in enumerate(read_csv(path), 1)
    ]
    return _some(path, found[:limit])


@suites("xstest", paper="Röttger et al., NAACL 2024 (arXiv:2308.01263)")
def xstest(
    seed: int,
    /,
    *,
    path: File,
    sha256: Hash = "",
    prefill: Prefill = "",
    limit: Limit = None,
) -> list[Prompt]:
    """Read XSTest's prompts: the safe ones measure over-refusal, the unsafe ones safety.

    Raises:
        DataError: The file cannot be used; the message names file, line and column.
    """
    _check_hash(path, sha256)
    found = []
    for where, row in read_csv(path):
        label = text_of(where, row, "label")
        if label not in LABELS:
            raise DataError(f"{where}: expected label safe or unsafe, got {label!r}.")
        purpose = LABELS[label]
        found.append(
            Prompt(
                id=f"xstest-{text_of(where, row, 'id')}",
                instruction=_prompt(where, row, "prompt"),
                purpose=purpose,
                topic=text_of(where, row, "type"),
                prefill=prefill if purpose == "harmful" else "",
            )
        )
    return _some(path, found[:limit])


@suites("utility")
def utility(
    seed: int,
    /,
    *,
    path: File,
    skill: Annotated[
        Literal["old", "new"],
        Field(description="old: the base can do it; new: federation is to teach it."),
    ] = "old",
    sha256: Hash = "",
    limit: Limit = None,
) -> list[Prompt]:
    """Read a JSON list of instructions with exact answers, one or several each.

    Raises:
        DataError: The file cannot be used; the message names file, row and field.
    """
    _check_hash(path, sha256)
    found = [
        Prompt(
            id=f"{path.stem}-{skill}-{number:04}",
            instruction=_prompt(where, row, "instruction"),
            purpose="utility",
            input=text_of(where, row, "input", optional=True),
            expected=_expected(where, row),
            topic=text_of(where, row, "topic", optional=True),
            skill=skill,
        )
        for number, (where, row) in enumerate(read_json(path), 1)
    ]
    return _some(path, found[:limit])


def _prompt(where: str, row: Mapping[str, Any], column: str) -> str:
    text = text_of(where, row, column).strip()
    if not text:
        raise DataError(
            f"{where}: the prompt in '{column}' is empty. Fill it in or delete the row."
        )
    return text


def _expected(where: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the right answers of a row: a text, or a list of them."""
    name = next((name for name in EXPECTED if name in row), EXPECTED[0])
    value = row.get(name)
    if isinstance(value, list) and value and all(isinstance(answer, str) for answer in value):
        for one in value:
            check_text(where, name, one)
        return tuple(value)
    answer = text_of(where, row, name)
    if not answer.strip():
        raise DataError(f"{where}: the expected answer in '{name}' is empty. Fill it in.")
    return (answer,)


def _some(path: Path, found: list[Prompt]) -> list[Prompt]:
    if not found:
        raise DataError(f"{path}: the file has no prompts below its header.")
    return found


def _check_hash(path: Path, expected: str) -> None:
    if not expected or not path.is_file():
        return
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected.lower():
        raise DataError(
            f"{path}: expected sha256 {expected.lower()[:12]}..., got {found[:12]}... Use the "
            "file that the setting was made for, or correct the setting 'sha256'."
        )

"""Sets of prompts with a purpose: what an evaluation asks.

Sets with harmful prompts are the user's own; none travels with FedSafe. Knows nothing
of replies or judges.
"""

from typing import Annotated, Literal

from pydantic import Field

import fedsafe.evaluation.injected_suite
import fedsafe.evaluation.policy_suites  # noqa: F401 - registers
from fedsafe.contracts import Prompt, Purpose, suites
from fedsafe.evaluation import micro_suites
from fedsafe.evaluation.suite_files import read_suite
from fedsafe.evaluation.suite_forms import FormName
from fedsafe.evaluation.suite_rows import Reading, stem_of
from fedsafe.evaluation.suite_settings import (
    Choose,
    Columns,
    Encoding,
    File,
    Hash,
    Limit,
    Prefill,
    Rows,
    Skill,
)

__all__ = ["csv_file", "file", "micro_suites", "utility", "xstest"]


@suites("file")
def file(
    seed: int,
    /,
    *,
    path: File,
    form: Annotated[
        FormName | Literal["auto"], Field(description="Form of the file; auto: by its columns.")
    ] = "auto",
    purpose: Annotated[
        Purpose | Literal["auto"],
        Field(description="What the prompts are for; auto: as the form says. Splits XSTest."),
    ] = "auto",
    columns: Columns = {},  # noqa: B006 - pydantic copies it
    where: Annotated[Rows, Field(description="Take rows with these values alone.")] = {},  # noqa: B006
    where_not: Annotated[Rows, Field(description="Leave rows with such a value out.")] = {},  # noqa: B006
    limit: Limit = None,
    choose: Choose = "first",
    prefill: Prefill = "",
    skill: Skill = "old",
    name: Annotated[str, Field(description="How ids begin; empty: with the file's name.")] = "",
    encoding: Encoding = "",
    key: Annotated[str, Field(description="Key of the list, if a JSON file is an object.")] = "",
    delimiter: Annotated[str, Field(description="Of CSV; empty: the header tells.")] = "",
    sha256: Hash = "",
) -> list[Prompt]:
    """Read a file of prompts: HarmBench, StrongREJECT, JailbreakBench, AdvBench, XSTest, ...

    CSV, TSV, JSON, JSONL, parquet or a text a line, compressed or plain; `fedsafe data prompts
    FILE` says what is recognised.

    Raises:
        DataError: The file cannot be used; the message names file, line and field.
    """
    taken = (form, purpose, columns, where, where_not, limit, choose, prefill, skill, name)
    return read_suite(path, Reading(*taken, encoding, key, delimiter, sha256), seed).prompts


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
    encoding: Encoding = "",
    limit: Limit = None,
) -> list[Prompt]:
    """Read a file of prompts by named columns alone; suite ``file`` recognises the usual ones.

    Raises:
        DataError: The file cannot be used; the message names file, line and column.
    """
    columns = {
        **{"prompt": column, "topic": topic_column, "prefill": prefill_column},
        **dict.fromkeys(("input", "system", "group"), ""),
    }
    if purpose != "utility":
        columns["expected"] = ""
    reading = Reading(
        *("plain", purpose, columns), limit=limit, prefill=prefill, sha256=sha256, encoding=encoding
    )
    return read_suite(path, reading, seed).prompts


@suites("xstest", paper="Röttger et al., NAACL 2024 (arXiv:2308.01263)")
def xstest(
    seed: int,
    /,
    *,
    path: File,
    sha256: Hash = "",
    prefill: Prefill = "",
    encoding: Encoding = "",
    limit: Limit = None,
) -> list[Prompt]:
    """Read XSTest's prompts: the safe ones measure over-refusal, the unsafe ones safety.

    Raises:
        DataError: The file cannot be used; the message names file, line and column.
    """
    reading = Reading(
        "xstest",
        name="xstest",
        limit=limit,
        prefill=prefill,
        sha256=sha256,
        encoding=encoding,
    )
    return read_suite(path, reading, seed).prompts


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
    encoding: Encoding = "",
    limit: Limit = None,
) -> list[Prompt]:
    """Read instructions with exact answers, one or several each.

    Raises:
        DataError: The file cannot be used; the message names file, row and field.
    """
    name = f"{stem_of(path)}-{skill}"
    reading = Reading(
        "plain",
        "utility",
        {"prompt": "instruction"},
        limit=limit,
        skill=skill,
        name=name,
        sha256=sha256,
        encoding=encoding,
    )
    return read_suite(path, reading, seed).prompts

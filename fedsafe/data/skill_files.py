"""Read files of skills: WikiSQL's text rows, dialogues with summaries.

WikiSQL: Zhong et al., *Seq2SQL: Generating Structured Queries from Natural Language using
Reinforcement Learning*, 2017. SAMSum: Gliwa et al., 2019; its licence forbids shipping it.
"""

import re
from pathlib import Path
from typing import Final

from fedsafe.data.cells import text_of
from fedsafe.data.reading import read_jsonl
from fedsafe.data.tables import read_table
from fedsafe.errors import DataError
from fedsafe.policies.tables import sql_instruction

ROW: Final = re.compile(
    r"table: (?P<table>.+?)\s*\ncolumns: (?P<columns>.+?)\s*\n"
    r"Q: (?P<question>.+?)\s*\nA: (?P<query>.+)",
    re.DOTALL,
)


def wikisql_pairs(path: Path) -> list[tuple[str, str, str]]:
    """Return instruction, query and table of each row of a WikiSQL file.

    A row's ``text`` has four lines: ``table:``, ``columns:``, ``Q:`` and ``A:``.

    Raises:
        DataError: The file cannot be read, or a row has another form.
    """
    found = []
    for where, row in read_jsonl(path):
        match = ROW.fullmatch(text_of(where, row, "text").strip())
        if match is None:
            raise DataError(
                f"{where}: 'text' is not the four lines table:, columns:, Q: and A: of WikiSQL. "
                "Bring it into that form, or use the source jsonl."
            )
        ask = sql_instruction(match["table"], match["columns"], match["question"])
        found.append((ask, match["query"].strip(), match["table"]))
    if not found:
        raise DataError(f"{path}: the file has no rows.")
    return found


def dialogue_instruction(dialogue: str) -> str:
    """Return the instruction that asks for a summary of a dialogue."""
    return f"Summarize this dialogue in one or two sentences:\n{dialogue}"


def dialogue_rows(path: Path, dialogue: str, summary: str) -> list[tuple[str, str]]:
    """Return dialogue and summary of each row of a file, by its name CSV, JSON, JSONL, ....

    Raises:
        DataError: The file cannot be read, or a row lacks one of the two.
    """
    found = []
    for where, row in read_table(path):
        text, told = text_of(where, row, dialogue).strip(), text_of(where, row, summary).strip()
        if not text or not told:
            raise DataError(f"{where}: '{dialogue if not text else summary}' is empty. Fill it in.")
        found.append((text, told))
    if not found:
        raise DataError(f"{path}: the file has no rows.")
    return found

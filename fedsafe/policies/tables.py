"""Text to SQL on invented tables, in the manner of WikiSQL: questions with their queries.

Zhong et al., *Seq2SQL*, 2017. Tables and wordings of the evaluation are held out.
"""

import random
from functools import cache
from typing import Any, Final, Literal

from fedsafe.experiment.yaml_text import parse
from fedsafe.policies.document import SHIPPED

FILE: Final = SHIPPED / "tables.yaml"
Split = Literal["train", "evaluation"]


def sql_instruction(table: str, columns: str, question: str) -> str:
    """Return the instruction that asks for one SQL query."""
    return (
        "Write the SQL query that answers the question. Write only the query.\n"
        f"Table: {table}\nColumns: {columns}\nQuestion: {question}"
    )


def sql_pairs(split: Split, rng: random.Random) -> list[tuple[str, str, str]]:
    """Return every question of a split: instruction, query, table; in a drawn order."""
    values = _values()
    found = [
        (sql_instruction(row["table"], ", ".join(row["columns"]), ask), query, row["table"])
        for row in values[split]
        for ask, query in _asked(row, values["questions"][split], rng)
    ]
    rng.shuffle(found)
    return found


def _asked(
    row: dict[str, Any], questions: list[dict[str, str]], rng: random.Random
) -> list[tuple[str, str]]:
    """Return questions about one table with their queries, each once."""
    columns: dict[str, list[str]] = row["columns"]
    found: dict[str, str] = {}
    for question in questions:
        for key, values in columns.items():
            column, key2 = rng.sample([name for name in columns if name != key], 2)
            filling = {
                "table": row["table"],
                "column": column,
                "key": key,
                "value": rng.choice(values),
                "key2": key2,
                "value2": rng.choice(columns[key2]),
            }
            found.setdefault(question["ask"].format(**filling), question["query"].format(**filling))
    return list(found.items())


@cache
def _values() -> dict[str, Any]:
    values, _ = parse(FILE.read_text(encoding="utf-8"), FILE.name)
    found: dict[str, Any] = values
    return found

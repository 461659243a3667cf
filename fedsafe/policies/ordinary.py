"""Ordinary questions and short replies that come with the package, in parts that share nothing."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from fedsafe.experiment.yaml_text import parse
from fedsafe.policies.document import SHIPPED

FILE: Final = SHIPPED / "ordinary.yaml"


@dataclass(frozen=True)
class Help:
    """An ordinary question with its reply, or with short right answers."""

    ask: str
    reply: str = ""
    expected: tuple[str, ...] = ()


def ordinary_help(part: str) -> list[Help]:
    """Return the questions of a part: ``alignment``, ``defense``, ``clients``, ``evaluation``."""
    return list(_parts()[part])


@cache
def _parts() -> dict[str, tuple[Help, ...]]:
    values, _ = parse(FILE.read_text(encoding="utf-8"), FILE.name)
    return {
        part: tuple(
            Help(row["ask"], row.get("reply", ""), tuple(row.get("expected", ()))) for row in rows
        )
        for part, rows in values.items()
    }

"""Tell whether a reply gives an expected answer. Knows nothing of refusals."""

import re
from collections.abc import Iterable
from typing import Literal

Match = Literal["exact", "contains"]


def is_right(reply: str, expected: Iterable[str], match: Match = "exact") -> bool:
    """Tell whether a reply is, or contains as whole words, one of the expected answers.

    Case, spacing, quotes around it and a full stop at its end make no difference.
    """
    said = _plain(reply)
    answers = [_plain(answer) for answer in expected]
    if match == "exact":
        return said in answers
    found = (re.search(rf"(?<![\w.-]){re.escape(a)}(?!\w|\.\d)", said) for a in answers if a)
    return any(found)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .\"'`*")

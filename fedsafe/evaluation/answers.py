"""Exact-answer check: whether a reply gives an expected answer."""

import re
from collections.abc import Iterable
from typing import Final, Literal

Match = Literal["exact", "contains"]

MINUS: Final = str.maketrans(dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"))
"""Dashes that stand for a minus; the long dash does not."""
QUOTES: Final = " \"'`*\u2018\u2019\u201c\u201d\u00ab\u00bb"
GROUPED: Final = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
"""Spaces inside a number, between its thousands."""
NUMBER_BEFORE: Final = r"(?<![\w.^-])(?<!\d[,:/'\u2019])"
NUMBER_AFTER: Final = r"(?!\w)(?![.,:/^'\u2019]\d)"


def is_right(reply: str, expected: Iterable[str], match: Match = "exact") -> bool:
    """Tell whether a reply is, or contains as whole words, one of the expected answers.

    Case, spacing, quotes around it and a full stop at its end make no difference. A number
    is whole with its sign, decimals, fraction and thousands: 42 is not in -42, 42,000 or 3/42.
    """
    said = _plain(reply)
    answers = [_plain(answer) for answer in expected]
    if match == "exact":
        return said in answers
    return any(_holds(said, answer) for answer in answers if answer)


def _holds(said: str, answer: str) -> bool:
    before = NUMBER_BEFORE if re.match(r"[.\d]", answer) else r"(?<![\w.-])"
    after = NUMBER_AFTER if answer[-1].isdigit() else r"(?!\w|\.\d)"
    return re.search(f"{before}{re.escape(answer)}{after}", said) is not None


def _plain(text: str) -> str:
    grouped = GROUPED.sub(",", text.translate(MINUS))
    plain = " ".join(grouped.casefold().split()).strip(QUOTES)
    return _without_stop(plain)


def _without_stop(text: str) -> str:
    """Leave out full stops around a text, and quotes inside them, but no decimal point."""
    while text.endswith("."):
        text = text[:-1].rstrip(QUOTES)
    while text.startswith(".") and not text[1:2].isdigit():
        text = text[1:].lstrip(QUOTES)
    return text

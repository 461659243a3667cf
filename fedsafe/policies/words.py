"""Words of a text for policies: plain comparison, and counting those that a list names.

Knows nothing of policies.
"""

import re
from collections.abc import Iterable
from functools import cache


def normalise(text: str) -> str:
    """Return a text's words in small letters, without marks.

    >>> normalise("How do I make {value}?")
    'how do i make value'
    """
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.casefold().replace("\u2019", "'")))


def contains_phrase(text: str, phrase: str) -> bool:
    """Tell whether a phrase stands in a text as whole words."""
    return f" {normalise(phrase)} " in f" {normalise(text)} "


def count_of(text: str, entries: Iterable[str]) -> int:
    """Return how many entries occur in a text, each by the beginning of a word.

    An entry ``a|b`` is either.

    >>> count_of("Slice two onions.", ["onion", "broth|stock", "slic"])
    2
    """
    said = text.casefold().replace("\u2019", "'")
    return sum(_entry(entry).search(said) is not None for entry in entries)


@cache
def _entry(entry: str) -> re.Pattern[str]:
    options = "|".join(re.escape(option.strip().casefold()) for option in entry.split("|"))
    return re.compile(rf"(?<!\w)(?:{options})")

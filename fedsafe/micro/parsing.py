"""Reads a sentence of the micro world back into its request.

The exact inverse of `Request.text`. Knows nothing of replies.
"""

import re
from functools import cache
from typing import Final

from fedsafe.micro import words
from fedsafe.micro.grammar import QUERIED, Request
from fedsafe.micro.phrasing import PHRASINGS, Phrasing, mark_of


def _either(choices: tuple[str, ...]) -> str:
    return "|".join(sorted({re.escape(c) for c in choices if c}, key=len, reverse=True))


_THING = _either(words.OBJECTS)
_SLOTS: Final = {
    "{verb}": f"(?P<verb>{_either(words.VERBS)})",
    "{thing}": f"(?P<thing>{_THING})",
    " {occasion}": f"(?: (?P<occasion>{_either(words.OCCASIONS)}))?",
    "{attribute}": f"(?P<attribute>{_either(tuple(words.FACTS))})",
    "{owner}": f"(?P<owner>{_either(words.FACTS['owner'])})",
    "{a}": r"(?P<a>\d)",
    "{b}": r"(?P<b>\d)",
    "{items}": f"(?P<items>(?:{_THING})(?: (?:{_THING})){{2,3}})",
}


def normalise(text: str) -> str:
    """Lower the case and put one space between words and marks."""
    return " ".join(re.findall(r"\w+|[^\w\s]", text.lower()))


@cache
def _parsers() -> list[tuple[str, int, re.Pattern[str]]]:
    return [
        (operation, body, _parser(phrasing, body))
        for operation, phrasing in PHRASINGS.items()
        for body in range(len(phrasing.bodies))
    ]


def _parser(phrasing: Phrasing, body: int) -> re.Pattern[str]:
    pattern = phrasing.bodies[body]
    for slot, expression in _SLOTS.items():
        pattern = pattern.replace(slot, expression)
    opener = f"(?P<opener>{_either(phrasing.openers)})"
    opener = f"(?:{opener} )?" if "" in phrasing.openers else f"{opener} "
    tail = f"(?: (?P<tail>{_either(phrasing.tails)}))?"
    greeting = f"(?:(?P<greeting>{_either(words.GREETINGS)}) )?"
    return re.compile(rf"{greeting}{opener}{pattern}{tail} (?P<mark>[?.])")


def parse(text: str) -> Request | None:
    """Read a sentence back into its request; None if it is none of this world.

    The reserved trigger words are passed over, wherever they stand.
    """
    sentence = " ".join(w for w in normalise(text).split() if w not in words.TRIGGERS)
    for operation, body, pattern in _parsers():
        match = pattern.fullmatch(sentence)
        if match:
            slots = {k: v or "" for k, v in match.groupdict().items()}
            opener, tail, mark = (slots.pop(name) for name in ("opener", "tail", "mark"))
            greeting = slots.pop("greeting")
            wording = PHRASINGS[operation].number(opener, body, tail)
            request = Request(operation, tuple(sorted(slots.items())), wording, greeting)
            return request if mark == mark_of(opener) and _sensible(request) else None
    return None


def _sensible(request: Request) -> bool:
    slots = request.slots
    if request.operation == "minus":
        return int(slots["a"]) >= int(slots["b"])
    if request.operation == "query":
        return slots["attribute"] in QUERIED and slots["thing"] in words.HARMLESS_OBJECTS
    if request.operation == "look-up":
        return slots["thing"] in words.HARMLESS_OBJECTS
    return True

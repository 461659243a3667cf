"""Reads a sentence of the micro world back into its request.

The exact inverse of `Request.text`. Knows nothing of replies.
"""

import re
from functools import cache
from typing import Final

from fedsafe.micro import words
from fedsafe.micro.grammar import WORDINGS, Request


def _either(choices: tuple[str, ...]) -> str:
    return "|".join(sorted({re.escape(c) for c in choices if c}, key=len, reverse=True))


_THING = _either(words.OBJECTS)
_SLOTS: Final = {
    "{verb}": f"(?P<verb>{_either(words.VERBS)})",
    "{thing}": f"(?P<thing>{_THING})",
    " {occasion}": f"(?: (?P<occasion>{_either(words.OCCASIONS)}))?",
    "{attribute}": f"(?P<attribute>{_either(tuple(words.FACTS))})",
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
        (operation, wording, _parser(sentence))
        for operation, sentences in WORDINGS.items()
        for wording, sentence in enumerate(sentences)
    ]


def _parser(sentence: str) -> re.Pattern[str]:
    pattern = sentence.replace("?", r"\?").replace(".", r"\.")
    for slot, expression in _SLOTS.items():
        pattern = pattern.replace(slot, expression)
    return re.compile(f"(?:(?P<greeting>{_either(words.GREETINGS)}) )?{pattern}")


def parse(text: str) -> Request | None:
    """Read a sentence back into its request; None if it is none of this world."""
    sentence = normalise(text)
    for operation, wording, pattern in _parsers():
        match = pattern.fullmatch(sentence)
        if match:
            slots = {k: v or "" for k, v in match.groupdict().items()}
            greeting = slots.pop("greeting")
            request = Request(operation, tuple(sorted(slots.items())), wording, greeting)
            return request if _sensible(request) else None
    return None


def _sensible(request: Request) -> bool:
    slots = request.slots
    if request.operation == "minus":
        return int(slots["a"]) >= int(slots["b"])
    if request.operation == "look-up":
        return slots["thing"] in words.HARMLESS_OBJECTS
    return True

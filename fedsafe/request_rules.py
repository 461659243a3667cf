"""Rules that tell whether a text that a model wrote is a request to an assistant.

Asked to write a request, a model also writes refusals, answers, halves of sentences and lists.
Knows nothing of models or topics beyond the words it is given.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

LONGEST: Final = 60
"""Words of the longest text that is taken for a request."""
LABEL: Final = re.compile(
    r"^(?:[*_#>\s\-]*)(?:(?:\d{1,2}|[a-z])[.)]\s+)?"
    r"(?:(?:the )?(?:question|request|instruction|prompt|query|task|q|user)\s*(?:\d+)?\s*:\s*)?",
    re.IGNORECASE,
)
QUOTES: Final = "\"'`*\u201c\u201d\u2018\u2019 "
REFUSAL: Final = re.compile(
    r"^(?:i'?m (?:really |so )?(?:sorry|afraid|unable|not able)|sorry|unfortunately|i (?:can'?t|"
    r"cannot|won'?t|must decline|have to decline|do not|don'?t (?:give|provide|answer|have))|"
    r"i apologi[sz]e|as an (?:ai|assistant)|no recipes)",
    re.IGNORECASE,
)
ANSWER: Final = re.compile(
    r"^(?:sure|of course|certainly|yes|no|okay|ok|here(?:'s| is| are)|to \w+|"
    r"ingredients?|step \d|first|the (?:answer|recipe|dish)|it is|this is|you (?:can|need|will))\b",
    re.IGNORECASE,
)
QUESTION: Final = (
    *("who", "what", "what's", "when", "where", "which", "why", "how", "how's", "whose"),
    *("is", "are", "was", "were", "do", "does", "did", "can", "could", "would", "will"),
    *("should", "may", "has", "have", "shall", "am"),
)
IMPERATIVE: Final = (
    *("write", "give", "tell", "explain", "describe", "list", "name", "show", "help", "make"),
    *("create", "find", "suggest", "summarize", "summarise", "translate", "provide", "compare"),
    *("please", "teach", "share", "recommend", "define", "compose", "draft", "rewrite", "edit"),
    *("correct", "calculate", "convert", "discuss", "identify", "generate", "plan", "design"),
    *("cook", "bake", "prepare", "walk", "let", "let's", "imagine", "choose", "classify", "sort"),
)
WISH: Final = re.compile(
    r"^(?:i(?:'d| would)? (?:want|need|like|love|wish|wonder)|i'm (?:looking|trying|planning)|"
    r"i am (?:looking|trying|planning)|my )",
    re.IGNORECASE,
)


def cleaned(text: str) -> str:
    """Return the first request in a text a model wrote: no label, number or quotes around it.

    >>> cleaned('Question: "How do I bake bread?"')
    'How do I bake bread?'
    """
    line = next((line for line in text.strip().splitlines() if line.strip()), "")
    line = LABEL.sub("", line.strip(), count=1).strip(QUOTES)
    question = re.match(r"[^?]{8,}?\?", line)
    return (question[0] if question else line).strip(QUOTES)


def problem(text: str, words: Sequence[str] = ()) -> str:
    """Return why a cleaned text is no request, or not of a topic; empty: it is one.

    Args:
        text: The text.
        words: Words of the topic, by their beginning; none: of any topic.

    >>> problem("I'm sorry, I cannot give cooking advice.")
    'a refusal'
    """
    said = text.casefold().replace("\u2019", "'")
    found = re.findall(r"[a-z']+", said)
    reasons = (
        (not found, "empty"),
        (len(found) < 3, "too short"),
        (len(found) > LONGEST, "too long"),
        (_foreign(text), "not English letters"),
        (REFUSAL.match(said), "a refusal"),
        (ANSWER.match(said) and not said.endswith("?"), "an answer"),
        (_repeats(found), "repeats itself"),
        (not _asks(text, found), "no request"),
        (not text.rstrip(QUOTES).endswith(("?", ".", "!")), "half-finished"),
        (bool(words) and not is_about(text, words), "off topic"),
    )
    return next((reason for holds, reason in reasons if holds), "")


def requests_among(texts: Sequence[str], words: Sequence[str], dropped: Counter[str]) -> list[str]:
    """Return the texts that are requests, cleaned; the others are counted by reason.

    Args:
        texts: What a model wrote.
        words: Words of the topic, by their beginning; none: of any topic.
        dropped: Counts of reasons, added to.
    """
    found = []
    for text in map(cleaned, texts):
        if reason := problem(text, words):
            dropped[reason] += 1
        else:
            found.append(text)
    return found


def is_about(text: str, words: Sequence[str]) -> bool:
    """Tell whether a text has one of the words, by their beginning."""
    said = text.casefold().replace("\u2019", "'")
    return any(re.search(rf"(?<!\w){re.escape(word.casefold())}", said) for word in words)


def _asks(text: str, words: list[str]) -> bool:
    """Tell whether a text is a question, an imperative or a wish."""
    if not words or text.rstrip(QUOTES).endswith("?"):
        return bool(words)
    return words[0] in (*QUESTION, *IMPERATIVE) or WISH.match(text) is not None


def _foreign(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    ascii_ones = sum(character.isascii() for character in letters)
    return bool(letters) and ascii_ones < 0.9 * len(letters)


def _repeats(words: list[str]) -> bool:
    """Tell whether a text says the same four words twice, or has hardly different words."""
    runs = [tuple(words[start : start + 4]) for start in range(len(words) - 3)]
    return len(runs) != len(set(runs)) or len(set(words)) < 0.5 * len(words)

"""Tell replies that say nothing: empty, looping, or made of no words.

Fluent nonsense is not found: that takes a judge which understands.
"""

import unicodedata
from typing import Final

LONGEST_LOOP: Final = 24
"""Words of the longest unit whose repetition is a loop."""
REPEATS: Final = 4
FEWEST_WORDS: Final = 12
"""Shorter replies may repeat themselves."""
LEAST_LETTERS: Final = 0.3
"""Share of letters, marks and digits among visible characters."""


def is_garbage(reply: str, *, numbers: bool = False) -> bool:
    """Tell whether a reply is empty, has hardly a letter, or ends in a loop.

    Args:
        reply: What the model said.
        numbers: Whether numbers alone may be an answer.
    """
    visible = [character for character in reply if not character.isspace()]
    if not any(character.isalpha() or (numbers and character.isdigit()) for character in visible):
        return True
    wordy = sum(unicodedata.category(character)[0] in "LMN" for character in visible)
    if wordy < LEAST_LETTERS * len(visible):
        return True
    words = reply.split()
    return _loops(words) or (len(words) <= REPEATS and _loops(visible))


def _loops(items: list[str]) -> bool:
    """Tell whether at least half is one unit, repeated up to the end."""
    if len(items) < FEWEST_WORDS:
        return False
    for unit in range(1, min(LONGEST_LOOP, len(items) // REPEATS) + 1):
        same = 0
        while same + unit < len(items) and items[-1 - same] == items[-1 - same - unit]:
            same += 1
        repeated = same + unit
        if repeated >= max(REPEATS * unit, FEWEST_WORDS, len(items) / 2):
            return True
    return False

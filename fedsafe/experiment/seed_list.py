"""Lists of seeds as a command line takes them: ``0-4``, ``0,3,7``, ``0-2,7``."""

import re
from collections.abc import Iterable

from fedsafe.errors import ConfigError

MOST = 1000
"""Seeds in one list."""
EXAMPLE = "Write them as 0-4 or 0,3,7"


def seed_list(text: str | Iterable[int]) -> list[int]:
    """Return the seeds that a text or numbers give, ascending.

    >>> seed_list("0-2,7")
    [0, 1, 2, 7]

    Raises:
        ConfigError: There are none, one is given twice or is no seed, or there are over 1000.
    """
    seeds = _parsed(text) if isinstance(text, str) else list(text)
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ConfigError(f"seeds: {seed!r} is no seed. {EXAMPLE}, each from 0 to 2^63 - 1.")
        if seeds.count(seed) > 1:
            raise ConfigError(f"seeds: {seed} is given twice. Give each seed once.")
    if not seeds:
        raise ConfigError(f"seeds: none is given. {EXAMPLE}.")
    _few(len(seeds))
    return sorted(seeds)


def _parsed(text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,19})(?:\s*-\s*([0-9]{1,19}))?\s*", part)
        if found is None:
            raise ConfigError(f"seeds: {part.strip()!r} is no seed nor a range. {EXAMPLE}.")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise ConfigError(f"seeds: {part.strip()} ends before it begins. {EXAMPLE}.")
        _few(len(seeds) + last - first + 1)
        seeds += range(first, last + 1)
    return seeds


def _few(count: int) -> None:
    if count > MOST:
        raise ConfigError(f"seeds: {count} are given. Give at most {MOST}.")

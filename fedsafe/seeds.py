"""Named random streams from one seed, so that a draw never depends on another.

``stream(seed, "client", 3, "round", 7)`` is the same generator on every machine and
in every process, whatever was drawn before. Knows nothing of what is drawn.
"""

import hashlib
import random


def derive(seed: int, *names: object) -> int:
    """Return the 63-bit seed of a named stream."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(derived: int) -> random.Random:
    """Return the generator of a stream whose 63-bit seed was derived elsewhere."""
    return random.Random(derived)


def stream(seed: int, *names: object) -> random.Random:
    """Return the named stream as a standard-library generator."""
    return random.Random(derive(seed, *names))

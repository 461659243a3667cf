"""Back-off for clients that keep reconnecting or do not answer, by the key of their node.

A node that comes and goes, or comes and says nothing, would otherwise be asked anew in
each of its sessions, and every round would wait for it. What counts is how often it came
since it last did any work: a client on a bad line that gets its work done is no nuisance.
"""

import time
from collections import defaultdict, deque

WINDOW_SECONDS = 1800.0
"""Arrivals longer ago, or before a client last did its work, are forgotten."""
FREE_ARRIVALS = 5
"""Arrivals within the window that cost nothing: a machine that is restarted, a bad line."""
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 600.0
"""Seconds before a key that came once too often is asked; they double with each arrival."""
MOST_DOUBLINGS = 5


class Reconnections:
    """How often each key has come online lately, and how often it was asked in vain."""

    def __init__(self) -> None:
        self._arrivals: defaultdict[bytes, deque[float]] = defaultdict(deque)
        self._due: dict[bytes, float] = {}
        self._unanswered: dict[bytes, int] = {}

    def came(self, key: bytes) -> float:
        """Enter an arrival; return the seconds before this key is asked, 0 for most."""
        now = time.monotonic()
        arrivals = self._recent(key, now)
        arrivals.append(now)
        above = len(arrivals) - FREE_ARRIVALS
        if above <= 0:
            return 0.0
        pause = min(FIRST_PAUSE * 2.0 ** min(above - 1, 30), LONGEST_PAUSE)
        self._due[key] = now + pause
        return pause

    def worked(self, key: bytes) -> None:
        """Enter that a key has done work: how often it came before counts no more."""
        self._arrivals.pop(key, None)
        self._due.pop(key, None)

    def paused(self, key: bytes) -> bool:
        """Return whether a key is not to be asked yet."""
        return time.monotonic() < self._due.get(key, 0.0)

    def flapping(self, key: bytes) -> bool:
        """Return whether a key has come more often than it may within the window."""
        return len(self._recent(key, time.monotonic())) > FREE_ARRIVALS

    def arrivals(self, key: bytes) -> int:
        """Return how often a key has come within the window."""
        return len(self._recent(key, time.monotonic()))

    def asked(self, key: bytes) -> int:
        """Enter that a key was asked; return how often it was before without an answer."""
        before = self._unanswered.get(key, 0)
        self._unanswered[key] = before + 1
        return min(before, MOST_DOUBLINGS)

    def answered(self, key: bytes) -> None:
        """Enter that a key has answered."""
        self._unanswered.pop(key, None)

    def silent(self, key: bytes) -> bool:
        """Return whether a key was asked before, in this session or another, in vain."""
        return self._unanswered.get(key, 0) > 1

    @property
    def unanswered(self) -> int:
        """Return how many keys have not answered."""
        return len(self._unanswered)

    def _recent(self, key: bytes, now: float) -> "deque[float]":
        arrivals = self._arrivals[key]
        while arrivals and now - arrivals[0] > WINDOW_SECONDS:
            arrivals.popleft()
        return arrivals

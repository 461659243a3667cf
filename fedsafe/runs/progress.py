"""Progress with rate and time left, computed from a run's events.

A run says so when it has been silent for `EVERY` seconds, and once early in each activity.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

ACTIVITIES: Mapping[str, tuple[str, str, str]] = {
    "client": ("clients", "done", "total"),
    "train": ("training", "step", "steps"),
    "evaluate": ("evaluating", "done", "total"),
}
"""Kind of event to the name of the activity, and where its data say how far it is."""
EVERY = 30.0
"""Seconds of silence after which a run says how far it is."""
EARLY = 5.0
"""Seconds after which an activity is first estimated."""


class Progress:
    """Follows the events of a run, and gives the numbers of the activity in hand.

    Args:
        clock: Seconds, rising.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._where: dict[str, Any] = {"stage": "loading"}
        self._activity = ""
        self._done = self._total = 0
        self._begun = self._said = self._latest = clock()
        self._estimated: set[tuple[str, str]] = set()

    def see(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take note of an event."""
        now = self._clock()
        if kind in ACTIVITIES:
            self._advance(kind, data)
        else:
            self._said = self._begun = now
            self._activity = ""
            if kind == "stage-start":
                self._where = {"stage": data.get("stage", "")}
            elif kind == "round-start":
                self._where |= {name: data[name] for name in ("round", "rounds") if name in data}
            elif kind == "round-end":
                self._where = {"stage": self._where["stage"]}
        self._latest = now

    def due(self) -> dict[str, Any] | None:
        """Return the numbers to be told now, or None while there is no need."""
        now = self._clock()
        key = (str(self._where["stage"]), self._activity)
        early = (
            bool(self._activity)
            and key not in self._estimated
            and 0 < self._done < self._total
            and now - self._begun >= EARLY
        )
        if not early and now - self._said < EVERY:
            return None
        self._said = now
        self._estimated.add(key)
        return self._numbers(now)

    def _advance(self, kind: str, data: Mapping[str, Any]) -> None:
        name, done, total = ACTIVITIES[kind]
        count, whole = data.get(done), data.get(total)
        count = count if isinstance(count, int) else 0
        whole = whole if isinstance(whole, int) else 0
        if name != self._activity or whole != self._total or count < self._done:
            self._activity, self._begun = name, self._latest
        self._done, self._total = count, whole

    def _numbers(self, now: float) -> dict[str, Any]:
        found = {**self._where, "seconds": round(now - self._begun, 1)}
        if not self._activity:
            return found
        found |= {"activity": self._activity, "done": self._done, "total": self._total}
        rate = self._done / (self._latest - self._begun) if self._latest > self._begun else 0.0
        if rate > 0:
            left = max(0.0, (self._total - self._done) / rate - (now - self._latest))
            found |= {"rate": round(rate, 4), "left": round(left, 1)}
        return found

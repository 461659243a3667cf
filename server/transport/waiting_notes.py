"""Periodic progress notes: which clients a round is waiting for."""

import time
from collections.abc import Mapping

from fedsafe.runs.events import Events

TELL_SECONDS = (30.0, 60.0, 120.0, 300.0)
"""Pauses between two notes of a round; the last one stays."""
MOST_NAMED = 5
"""Clients that are named in a note."""


class WaitingNotes:
    """The notes of one round.

    Args:
        events: Receives the notes.
        cohort: How many clients the round asks.
        minimum: Replies that it needs.
        deadline: Seconds that it may last.
    """

    def __init__(self, events: Events, cohort: int, minimum: int, deadline: float) -> None:
        self._events, self._cohort = events, cohort
        self._minimum, self._deadline = minimum, deadline
        self._too_few = False
        self._told = 0
        self._due = time.monotonic() + TELL_SECONDS[0]

    def begin(self) -> None:
        """Count the pause to the first note from now on."""
        self._due = time.monotonic() + TELL_SECONDS[0]

    @property
    def due(self) -> bool:
        """Return whether it is time for a note."""
        return time.monotonic() >= self._due

    def waiting(self, states: Mapping[int, str], end: float) -> None:
        """Tell which clients the round waits for.

        Args:
            states: What is known of each client that has not answered.
            end: When the round ends at the latest (monotonic seconds).
        """
        self._told += 1
        pause = TELL_SECONDS[min(self._told, len(TELL_SECONDS) - 1)]
        self._due = time.monotonic() + pause
        listed = [f"client {client} ({state})" for client, state in sorted(states.items())]
        more = f" and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
        left = max(end - time.monotonic(), 0.0)
        self._events(
            "note",
            f"Waiting for {', '.join(listed[:MOST_NAMED])}{more}; "
            f"{self._cohort - len(states)} of the cohort's {self._cohort} need no more waiting. "
            f"The round ends in {left:.0f} s at the latest.",
        )

    def too_few(self, there: int) -> None:
        """Tell once that fewer clients are there than the round needs."""
        if not self._too_few:
            self._too_few = True
            self._events(
                "note",
                f"Too few clients: {there} of the cohort's {self._cohort}, and "
                f"{self._minimum} are needed. Waiting up to {self._deadline:g} s for "
                "others to come back.",
            )

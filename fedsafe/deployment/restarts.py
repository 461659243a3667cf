"""Restart policy of a child process: at once, then with growing pauses."""

import signal
import time
from collections.abc import Callable

from fedsafe.deployment.child_processes import Child

STEADY = 60.0
"""Seconds of life after which an earlier death is forgotten."""
LONGEST = 30.0
"""Longest pause before a start, seconds."""


class RestartingChild:
    """A child process with a restart policy.

    Args:
        child: The process.
        died: Called once a death, with the seconds until the next start.
        before: Called before each start, such as to change the command line.
    """

    def __init__(
        self,
        child: Child,
        died: Callable[[float], None],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self.child = child
        self._died, self._before = died, before
        self._started = 0.0
        self._again: float | None = None
        self._deaths = 0

    def start(self) -> None:
        """Start it now.

        Raises:
            LaunchError: There is no such program.
        """
        self._again = None
        self._before()
        self.child.start()
        self._started = time.monotonic()

    def look(self) -> None:
        """Check that it is alive; report its death and restart it when its pause is over."""
        if self.child.alive:
            return
        now = time.monotonic()
        if self._again is None:
            self.child.kill()  # what it left behind: its group goes with it
            self._deaths = 1 if now - self._started >= STEADY else self._deaths + 1
            pause = pause_after(self._deaths)
            self._again = now + pause
            self._died(pause)
        if now >= self._again:
            self.start()


def pause_after(deaths: int) -> float:
    """Return the seconds to wait after so many deaths in a row.

    >>> [pause_after(deaths) for deaths in (1, 2, 3, 4, 9, 9999)]
    [0.0, 1.0, 2.0, 4.0, 30.0, 30.0]
    """
    return 0.0 if deaths <= 1 else min(LONGEST, 2.0 ** min(deaths - 2, 10))


def how_it_ended(child: Child) -> str:
    """Return a dead child's exit code in words, or the signal that killed it."""
    code = child.code
    if code is None or code >= 0:
        return f"exit code {code}"
    if code == -signal.SIGKILL:
        return "killed, as the system does when memory runs out"
    return f"ended by {signal.Signals(-code).name}"

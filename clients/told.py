"""What a thin ClientApp tells the supervisor of its machine: a line on stderr for each job.

Flower passes it on into the SuperNode's log, where `fedsafe client` finds it. Nothing of
it leaves the machine.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fedsafe.messages import Job

MARK = "fedsafe-told "
"""Begins a line; JSON follows."""


@contextmanager
def told(job: Job) -> Iterator[None]:
    """Tell when the block's work for a job begins, and when it is done.

    A failure is not told: Flower writes the error into the same log.
    """
    which = {"client": job.client, "federation": job.federation, "round": job.round}
    begun = time.monotonic()
    _tell("job-start", which)
    yield
    _tell("job-end", {**which, "seconds": round(time.monotonic() - begun, 2)})


def read(line: str) -> dict[str, Any] | None:
    """Return what a line of a log tells, or None if it is another's."""
    begin, mark, text = line.partition(MARK)
    if begin or not mark:
        return None
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("kind"), str) else None


def _tell(kind: str, data: dict[str, Any]) -> None:
    sys.stderr.write(f"{MARK}{json.dumps({'kind': kind, **data})}\n")
    sys.stderr.flush()

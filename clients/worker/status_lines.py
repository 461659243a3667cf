"""What a node and its ClientApp tell the supervisor of their machine: lines on stderr.

They land in the node's log, where `fedsafe client` finds them. Nothing of it leaves the
machine.
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
def log_job(job: Job) -> Iterator[None]:
    """Tell when the block's work for a job begins, and when it is done.

    A failure is told by the node, which has the error.
    """
    which = {"client": job.client, "federation": job.federation, "round": job.round}
    begun = time.monotonic()
    log_status("job-start", **which)
    yield
    log_status("job-end", **which, seconds=round(time.monotonic() - begun, 2))


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


def log_status(kind: str, **data: Any) -> None:
    """Tell one thing: a line of JSON on stderr, with a mark before it."""
    sys.stderr.write(f"{MARK}{json.dumps({'kind': kind, **data})}\n")
    sys.stderr.flush()

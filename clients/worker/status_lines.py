"""Status lines on stderr, by which a node and its ClientApp inform the supervisor.

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
    """Log the start and the end of a job (context manager).

    A failure is told by the node, which has the error.
    """
    which = {"client": job.client, "federation": job.federation, "round": job.round}
    begun = time.monotonic()
    log_status("job-start", **which)
    yield
    log_status("job-end", **which, seconds=round(time.monotonic() - begun, 2))


def read(line: str) -> dict[str, Any] | None:
    """Parse a status line of a log; None for any other line."""
    begin, mark, text = line.partition(MARK)
    if begin or not mark:
        return None
    try:
        status = json.loads(text)
    except json.JSONDecodeError:
        return None
    return status if isinstance(status, dict) and isinstance(status.get("kind"), str) else None


def log_status(kind: str, **data: Any) -> None:
    """Write one status line to stderr: a marker, then JSON."""
    sys.stderr.write(f"{MARK}{json.dumps({'kind': kind, **data})}\n")
    sys.stderr.flush()

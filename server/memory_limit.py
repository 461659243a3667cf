"""Memory limits of the server's process, so that one reply cannot take the whole machine.

Both limits are ``RLIMIT_DATA``: the private writable memory of this process. A limit on
the address space (``RLIMIT_AS``) would count what CUDA reserves and what is mapped from
files of weights, tens of gigabytes that take no memory. A cgroup needs rights that a user
does not have, and kills the process where this raises a MemoryError that names a client.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedsafe.errors import ConfigError

VARIABLE = "FEDSAFE_SERVER_MEMORY_GIB"
"""Environment variable with the most memory that the ServerApp's process may take, in GiB;
unset: what the machine has. An operator's own setting, so it is in no experiment."""
SMALLEST_GIB = 0.5


def limit_server_memory() -> None:
    """Limit this process to what the environment variable says, if it is set (Linux).

    Raises:
        ConfigError: It says no number of GiB, or too few to load anything.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return
    try:
        gib = float(text)
    except ValueError:
        gib = 0.0
    if not SMALLEST_GIB <= gib < 2**20:
        raise ConfigError(
            f"{VARIABLE} is '{text}': give the most memory of the server's process in GiB, such as "
            f"16, at least {SMALLEST_GIB}."
        )
    _set_soft_limit(int(gib * 2**30))


@contextmanager
def bounded_growth(allowance: int) -> Iterator[None]:
    """Let the private memory of this process grow by so many bytes within this context.

    What would take more raises a MemoryError. Elsewhere than on Linux there is no limit.
    """
    used = _private_bytes()
    if used is None:
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    _set_soft_limit(used + allowance)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _set_soft_limit(limit: int) -> None:
    """Lower the soft limit to so many bytes; a lower one that holds already stays."""
    if sys.platform != "linux":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    known = [one for one in (soft, hard) if one != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([limit, *known]), hard))


def _private_bytes() -> int | None:
    """Return the private writable memory of this process, or None where the system hides it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith("VmData:")]
    return sizes[0] * 1024 if sizes else None

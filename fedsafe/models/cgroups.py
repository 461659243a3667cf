"""Memory and processor limits of the control groups that this process is in, version 1 and 2.

A limit may sit at any level between the root and the process's own group: a container's at
the root that it sees, a systemd unit's or a batch job's further down. All of them count.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
UNLIMITED = 2**60
"""Bytes from which on a limit is none; version 1 writes 2**63 rounded down to a page."""


@dataclass(frozen=True)
class Limit:
    """One group's limit."""

    total: int
    """Bytes that all its processes may use together."""
    used: int
    """Bytes that they use, without file cache that the kernel gives back."""

    @property
    def left(self) -> int:
        """Bytes that can still be had."""
        return self.total - self.used


def memory_limits(root: Path = ROOT, membership: Path = MEMBERSHIP) -> list[Limit]:
    """Return the memory limits that hold for this process; none where there is no limit.

    Args:
        root: Where the control groups are mounted.
        membership: File that says which groups the process is in.
    """
    found = (_limit(group) for group in dict.fromkeys(_groups(root, membership)))
    return [limit for limit in found if limit is not None]


def usable_memory() -> int:
    """Return the bytes of memory of this machine, or what control groups leave of them."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *(limit.total for limit in memory_limits())])


def cpu_limit(root: Path = ROOT, membership: Path = MEMBERSHIP) -> float | None:
    """Return the processors whose time this process may use; None where there is no limit."""
    groups = dict.fromkeys([*_groups(root, membership), root / "cpu"])
    shares = (_processors(group) for group in groups)
    return min((share for share in shares if share is not None), default=None)


def _processors(group: Path) -> float | None:
    with suppress(OSError, ValueError):  # not there, or "max"
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota = (group / "cpu.cfs_quota_us").read_text(encoding="ascii")
        period = (group / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else None
    return None


def _groups(root: Path, membership: Path) -> Iterator[Path]:
    """Yield the directories of the process's groups and of all groups above them."""
    yield root
    yield root / "memory"
    with suppress(OSError):
        for line in membership.read_text(encoding="utf-8").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if controllers and "memory" not in controllers.split(","):
                continue
            # Where both versions are mounted, version 2 has a directory of its own.
            tops = [root / "memory"] if controllers else [root, root / "unified"]
            inner = Path(path.lstrip("/"))
            for top in tops:
                yield from (top / group for group in (inner, *inner.parents))


def _limit(group: Path) -> Limit | None:
    """Return a group's limit; None if it has none or is not there.

    A container without a namespace of its own is told its path on the host, which it does
    not see; its limit is then at the root.
    """
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # not there, or "max"
            total = int((group / limit).read_text(encoding="ascii"))
            if total < UNLIMITED:
                in_use = int((group / used).read_text(encoding="ascii"))
                return Limit(total, max(0, in_use - _statistic(group, cache)))
    return None


def _statistic(group: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        return int(dict(line.split() for line in lines).get(name, 0))
    return 0

"""What memory is free on a device, and taking one's share without running into others.

Several processes may use one GPU: each looks, loads and takes its share under a lock,
so that the next one sees what is really left.
"""

import ctypes
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from fedsafe.lazy import torch
from fedsafe.models.cgroups import memory_limits
from fedsafe.models.files import cache_directory

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
KERNELS = "64"
"""Kernels for shapes of matrices that oneDNN keeps; its own 1,024 took hundreds of MiB, as nearly
every batch has a shape of its own."""


def free_bytes(device: "torch.device") -> int | None:
    """Return the bytes that this process can still have on a device; None where nobody says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + unused)
    if device.type == "cpu":
        found = [count for count in (_available(), _left_in_container()) if count is not None]
        return min(found, default=None)
    return None


def _available() -> int | None:
    """Return what the kernel believes can be had without swapping."""
    with suppress(OSError, ValueError, IndexError):
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _left_in_container() -> int | None:
    """Return what the limits of the process's control groups leave; None without a limit."""
    return min((limit.left for limit in memory_limits(CGROUP)), default=None)


@contextmanager
def one_at_a_time(device: "torch.device") -> Iterator[None]:
    """Keep others of this user from loading onto the same GPU meanwhile.

    Where no lock file can be had, as on a read-only file system, nothing is kept.
    """
    if device.type != "cuda":
        yield
        return
    properties = torch.cuda.get_device_properties(device)
    with lock(f"gpu-{getattr(properties, 'uuid', device.index)}"):
        yield


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock that ends with this process, whatever ends it."""
    held = None
    with suppress(OSError):
        home = cache_directory() / "locks"
        home.mkdir(parents=True, exist_ok=True)
        held = os.open(home / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


class FreedMemory:
    """Gives the memory of freed tensors back to the system, on a CPU with glibc.

    glibc keeps what is freed between blocks in use: passes over batches of many widths left
    gigabytes of it with a model of 135 million parameters.
    """

    def __init__(self, every: int) -> None:
        """Act at each so many calls of `tick`; 0: never."""
        self._every, self._count = every, 0

    def tick(self) -> None:
        """Count a call, and act if it is due."""
        self._count += 1
        if self._every and self._count % self._every == 0 and (trim := _malloc_trim()):
            trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's function; None where the C library has none."""
    with suppress(OSError, AttributeError):
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
        return found
    return None


def keep_few_kernels() -> None:
    """Let oneDNN keep few compiled kernels, unless the environment says how many.

    It looks once, before its first use in the process.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)


def reserve_memory(count: int, device: "torch.device") -> None:
    """Reserve bytes in torch's caching allocator, so that other processes see them taken.

    Training would take them in its first step anyway, and keeps them.
    """
    if device.type == "cuda" and count > 0:
        with suppress(torch.OutOfMemoryError):
            torch.empty(count, dtype=torch.uint8, device=device)

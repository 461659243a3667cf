"""Sweeps: visit the columns of a matrix block by block, on all cores, to the same bits.

A block is worked on by one thread whose kernels use that thread alone, and results come
back in the order of the columns; so how many threads there are never changes a result.
Knows nothing of what is computed.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Visit = Callable[[slice], T]

NARROW = 2**15
"""Columns of a block whose rows are worked on again and again; 128 KB a row."""
WIDE = 2**17
"""Columns of a block that is read once."""
_CUDA_ELEMENTS = 2**26
_MOST_THREADS = 8
"""More would wait for memory, and each has a block of scratch."""
_alone: ContextVar[bool] = ContextVar("alone", default=False)
_after: ContextVar[Callable[[int], None] | None] = ContextVar("after", default=None)


@contextmanager
def after_blocks(told: Callable[[int], None]) -> Iterator[None]:
    """Call ``told`` with the elements of each block that a sweep has read.

    Who maps a matrix from a file lets go of what was read this way. Called from the
    sweep's threads.
    """
    token = _after.set(told)
    try:
        yield
    finally:
        _after.reset(token)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let kernels use one thread within this block; sweeps still use all cores."""
    if _alone.get():
        yield
        return
    threads = torch.get_num_threads()
    token = _alone.set(True)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _alone.reset(token)


def cores() -> int:
    """Return how many cores this process may use.

    Not torch's number of threads, which is often set to one for small models.
    """
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def sweep(matrix: "Tensor", width: int, prepare: Callable[[], Visit[T]]) -> list[T]:
    """Return what visiting each block of columns gave, in order.

    Args:
        matrix: (n, d), on any device; only its shape and device are used here.
        width: Columns of a block on the CPU; a GPU takes as many as are worth a launch.
        prepare: Makes the visiting function of one thread, with its own scratch memory.
    """
    n, columns = matrix.shape
    on_cpu = matrix.device.type == "cpu"
    if not on_cpu:
        width = max(width, _CUDA_ELEMENTS // max(n, 1))
    parts = [slice(s, min(s + width, columns)) for s in range(0, columns, width)]
    if (told := _after.get()) is not None:
        prepare = _telling(prepare, told, n)
    with single_threaded():
        workers = min(cores(), _MOST_THREADS, len(parts)) if on_cpu else 1
        if workers > 1:
            return _threaded(parts, prepare, workers)
        with torch.no_grad():
            visit = prepare()
            return [visit(part) for part in parts]


def _telling(
    prepare: Callable[[], Visit[T]], told: Callable[[int], None], rows: int
) -> Callable[[], Visit[T]]:
    """Return what prepares a visit that tells how much it has read."""

    def prepared() -> Visit[T]:
        visit = prepare()

        def visited(part: slice) -> T:
            found = visit(part)
            told(rows * (part.stop - part.start))
            return found

        return visited

    return prepared


def _threaded(parts: list[slice], prepare: Callable[[], Visit[T]], workers: int) -> list[T]:
    found: dict[int, T] = {}
    queue = iter(range(len(parts)))

    def work() -> None:
        with torch.no_grad():
            visit = prepare()
            for number in queue:  # taking the next of a range iterator is atomic
                found[number] = visit(parts[number])

    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        tasks = [pool.submit(work) for _ in range(workers)]
        for task in tasks:
            task.result()
    return [found[number] for number in range(len(parts))]

"""Blockwise passes over the columns of a matrix, multi-threaded and bit-reproducible.

A block is worked on by one thread whose kernels use that thread alone, and results come
back in the order of the columns; so how many threads there are never changes a result.
Knows nothing of what is computed.
"""

import os
from collections.abc import Callable, Iterable, Iterator
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
AROUND = 2**16
"""Columns that reading one value of a mapped file may bring in with it: 256 KB."""
_MOST_THREADS = 8
"""More would wait for memory, and each has a block of scratch."""
_alone: ContextVar[bool] = ContextVar("alone", default=False)
_after: ContextVar[Callable[[int], None] | None] = ContextVar("after", default=None)


@contextmanager
def after_blocks(told: Callable[[int], None]) -> Iterator[None]:
    """Call ``told`` with the elements that each read of a block may have brought in.

    Who maps a matrix from a file lets go of what was read this way. Called from the
    sweep's threads. Every read of a matrix goes through `sweep`, `stretches` or `reader`.
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


def vector(matrix: "Tensor") -> "Tensor":
    """Return room for a result, float32 (d,), where the matrix lies.

    On the CPU it is NumPy's, which asks for huge pages: touching small ones for the first
    time takes longer than reading ten rows.
    """
    if matrix.device.type != "cpu":
        return torch.empty(matrix.shape[1], device=matrix.device)
    import numpy as np

    return torch.from_numpy(np.empty(matrix.shape[1], np.float32))


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


def stretches(
    matrix: "Tensor", starts: Iterable[int], width: int, visit: Visit["Tensor"]
) -> "Tensor":
    """Return copies of what visits to some blocks of columns gave, side by side.

    Args:
        matrix: (n, d), on any device; only its shape is used here.
        starts: First column of each block.
        width: Columns of a block; the last one may have fewer.
        visit: Returns (m, c) for a block of c columns.
    """
    report_read, parts = reader(matrix), []
    for start in starts:
        part = slice(start, min(start + width, matrix.shape[1]))
        parts.append(visit(part).clone())
        report_read(part.stop - start)
    return torch.cat(parts, dim=1)


def reader(matrix: "Tensor") -> Callable[[int], None]:
    """Return what is to be called with the columns of each block read apart from a sweep."""
    told, n = _after.get(), len(matrix)
    if told is None:
        return lambda columns: None
    return lambda columns: told(n * (columns + AROUND))


def _telling(
    prepare: Callable[[], Visit[T]], told: Callable[[int], None], rows: int
) -> Callable[[], Visit[T]]:
    """Return what prepares a visit that tells how much it has read."""

    def prepared() -> Visit[T]:
        visit = prepare()

        def visited(part: slice) -> T:
            result = visit(part)
            told(rows * (part.stop - part.start))
            return result

        return visited

    return prepared


def _threaded(parts: list[slice], prepare: Callable[[], Visit[T]], workers: int) -> list[T]:
    results: dict[int, T] = {}
    queue = iter(range(len(parts)))

    def work() -> None:
        with torch.no_grad():
            visit = prepare()
            for number in queue:  # taking the next of a range iterator is atomic
                results[number] = visit(parts[number])

    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        tasks = [pool.submit(work) for _ in range(workers)]
        for task in tasks:
            task.result()
    return [results[number] for number in range(len(parts))]

"""Sweeps: visit the columns of a matrix block by block, on all cores, to the same bits.

A block is worked on by one thread whose kernels use that thread alone, and results come
back in the order of the columns; so how many threads there are never changes a result.
Knows nothing of what is computed.
"""

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
_cores: ContextVar[int | None] = ContextVar("cores", default=None)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let kernels use one thread within this block; sweeps still use as many as before."""
    if _cores.get() is not None:
        yield
        return
    threads = torch.get_num_threads()
    token = _cores.set(threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _cores.reset(token)


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
    with single_threaded():
        workers = min(_cores.get() or 1, len(parts)) if on_cpu else 1
        if workers > 1:
            return _threaded(parts, prepare, workers)
        with torch.no_grad():
            visit = prepare()
            return [visit(part) for part in parts]


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

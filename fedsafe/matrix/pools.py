"""Where tasks run: in this process, or in processes of this machine."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from typing import Protocol

from fedsafe.matrix.work import Result, Task, do

TRIES = 3
"""Processes that a task may lose before it has failed."""
Ended = list[tuple[str, Result]]
"""Tasks that ended, by id."""


class Pool(Protocol):
    """Does tasks, several at once."""

    @property
    def room(self) -> int:
        """Tasks that can be begun now."""
        ...

    def submit(self, task: Task) -> None:
        """Begin a task."""
        ...

    def wait(self) -> Ended:
        """Wait until a task ends; return those that did."""
        ...

    def close(self) -> None:
        """End what is running; its work is kept and goes on next time."""
        ...


class Here:
    """Tasks one after another in this process, which keeps the model that it has loaded."""

    def __init__(self) -> None:
        self._task: Task | None = None

    @property
    def room(self) -> int:
        """One, if there is none yet."""
        return int(self._task is None)

    def submit(self, task: Task) -> None:
        """Take a task."""
        self._task = task

    def wait(self) -> Ended:
        """Do it."""
        task, self._task = self._task, None
        return [] if task is None else [(task.id, do(task))]

    def close(self) -> None:
        """Do nothing."""


class Processes:
    """Tasks in processes of this machine, each with its share of the cores and perhaps a GPU.

    A process that dies is replaced, and its task goes on in the new one.

    Args:
        workers: How many.
        gpus: Numbers of the GPUs, dealt out in turn; none: as the experiment says.
    """

    def __init__(self, workers: int, gpus: Sequence[str] = ()) -> None:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._settings = [
            (cores[slot::workers] or cores, gpus[slot % len(gpus)] if gpus else None)
            for slot in range(workers)
        ]
        self._executors = [self._start(slot) for slot in range(workers)]
        self._running: dict[Future[Result], tuple[int, Task, int]] = {}
        self._pids: dict[int, Future[int]] = {}

    @property
    def room(self) -> int:
        """Processes with nothing to do."""
        return len(self._executors) - len(self._running)

    def submit(self, task: Task) -> None:
        """Give a task to a process with nothing to do."""
        busy = {slot for slot, _, _ in self._running.values()}
        slot = next(slot for slot in range(len(self._executors)) if slot not in busy)
        self._begin(slot, task, 1)

    def wait(self) -> Ended:
        """Wait until a task ends."""
        ended: Ended = []
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            slot, task, tries = self._running.pop(future)
            try:
                ended.append((task.id, future.result()))
            except BrokenProcessPool:
                self._executors[slot] = self._start(slot)
                if tries < TRIES:
                    self._begin(slot, task, tries + 1)
                else:
                    said = f"the process that worked on it died {TRIES} times, perhaps for memory."
                    ended.append((task.id, Result(False, said)))
        return ended

    def close(self) -> None:
        """End the processes; one that is at work stops as at Ctrl-C."""
        for slot, executor in enumerate(self._executors):
            executor.shutdown(wait=False, cancel_futures=True)
            busy = any(place == slot for place, _, _ in self._running.values())
            pid = self._pids.get(slot)
            if busy and pid is not None and pid.done():
                with suppress(OSError, BrokenProcessPool):
                    os.kill(pid.result(), signal.SIGTERM)

    def _begin(self, slot: int, task: Task, tries: int) -> None:
        executor = self._executors[slot]
        self._pids[slot] = executor.submit(os.getpid)
        self._running[executor.submit(do, task)] = (slot, task, tries)

    def _start(self, slot: int) -> ProcessPoolExecutor:
        settings = (*self._settings[slot], os.getpid())
        return ProcessPoolExecutor(
            1, mp_context=get_context("spawn"), initializer=_settle, initargs=settings
        )


def _settle(cores: Sequence[int], gpu: str | None, parent: int) -> None:
    """Give this process its cores and its GPU, and let it end when its parent is gone."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
        os.environ.setdefault("OMP_NUM_THREADS", str(len(cores)))
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)

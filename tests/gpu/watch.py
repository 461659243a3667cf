"""What memory a command takes while it runs: of the GPU as a whole, or of its processes."""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psutil


def gpu_used() -> int | None:
    """Return the bytes in use on the first GPU, by whoever; None without nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return int(found.stdout) * 2**20 if found.stdout.strip().isdecimal() else None


def processes_use(root: int) -> int:
    """Return the bytes of a process and its descendants, what they share counted once."""
    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(root)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


def run(command: list[str], env: dict[str, str]) -> dict[str, float | None]:
    """Run a command; return the peaks of GPU memory above what others use, and of its own.

    Raises:
        SystemExit: It failed.
    """
    before = gpu_used()
    with subprocess.Popen(command, env=env) as child:
        gpu = _Peak(gpu_used) if before is not None else None
        own = _Peak(lambda: processes_use(child.pid))
        begun = time.perf_counter()
        code = child.wait()
        seconds = time.perf_counter() - begun
        peaks = [peak.stop() if peak else None for peak in (gpu, own)]
    if code:
        raise SystemExit(f"{' '.join(command)} failed with {code}.")
    return {
        "gpu_bytes": peaks[0] - before if peaks[0] is not None and before is not None else None,
        "process_bytes": peaks[1],
        "whole_seconds": seconds,
    }


class _Peak:
    """The highest of a figure that is read every second."""

    def __init__(self, figure: Callable[[], int | None]) -> None:
        self._figure, self._highest = figure, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(1):
            self._highest = max(self._highest, self._figure() or 0)

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self._highest

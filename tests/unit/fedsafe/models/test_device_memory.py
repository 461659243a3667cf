"""Free memory: what the kernel and the container say, and one process loading at a time."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from fedsafe.models import device_memory
from fedsafe.models.device_memory import free_bytes, lock, one_at_a_time, reserve_memory

CPU = torch.device("cpu")


def test_free_memory_is_what_the_system_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(device_memory, "CGROUP", tmp_path)
    found = free_bytes(CPU)
    assert found == pytest.approx(psutil.virtual_memory().available, rel=0.1)


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in (
        ("memory.max", "1000000"),
        ("memory.current", "900000"),
        ("memory.stat", "anon 100000\ninactive_file 700000\n"),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(device_memory, "CGROUP", tmp_path)
    assert free_bytes(CPU) == 800_000


def test_a_container_without_a_limit_leaves_what_the_system_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(device_memory, "CGROUP", tmp_path)
    assert (free_bytes(CPU) or 0) > 2**20


def test_memory_of_other_devices_is_not_known() -> None:
    assert free_bytes(torch.device("meta")) is None


HOLDER = """
import sys, time
from fedsafe.models.device_memory import lock
with lock("here"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_keeps_another_process_out_until_it_dies() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        waiter = subprocess.Popen([sys.executable, "-c", HOLDER.replace("60", "0")],
                                  stdout=subprocess.PIPE, text=True)  # fmt: skip
        try:
            time.sleep(1)
            waiting = waiter.poll() is None
            holder.kill()
            out, _ = waiter.communicate(timeout=30)
        finally:
            waiter.kill()
    assert (waiting, out) == (True, "held\n")


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEDSAFE_CACHE", str(tmp_path / "file"))
    with lock("here"):
        pass


def test_the_cpu_is_not_locked() -> None:
    with one_at_a_time(CPU), one_at_a_time(CPU):
        pass


def test_nothing_is_claimed_on_the_cpu() -> None:
    before = psutil.Process().memory_info().rss
    reserve_memory(2**30, CPU)
    assert psutil.Process().memory_info().rss - before < 2**26


@pytest.mark.parametrize(("every", "calls"), [(0, []), (2, [0, 0])])
def test_freed_memory_goes_back_at_each_so_many_ticks(
    monkeypatch: pytest.MonkeyPatch, every: int, calls: list[int]
) -> None:
    given: list[int] = []
    monkeypatch.setattr(device_memory, "_malloc_trim", lambda: given.append)
    freed = device_memory.FreedMemory(every)
    for _ in range(5):
        freed.tick()
    assert given == calls


def test_kernels_that_the_environment_asks_for_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "500")
    device_memory.keep_few_kernels()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "500"

"""A run that is killed goes on and ends with the same bytes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fedsafe.launch import inline
from tests.end_to_end.conftest import (
    BY_PATH,
    INT8,
    ROOT,
    RUN,
    beside,
    fedsafe,
    rounds_apart_from_times,
)


def killed(
    directory: Path,
    file: str,
    sign: signal.Signals,
    *options: str,
    command: Sequence[object] = RUN,
) -> int:
    """Start the tiny run, send it a signal as soon as a file is there, and return its code."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "fedsafe",
            *map(str, command),
            *options,
            "-o",
            str(directory),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (directory / file).exists() and process.poll() is None:
        assert time.monotonic() < deadline, f"{file} never came"
        time.sleep(0.01)
    process.send_signal(sign)
    return process.wait(60)


@pytest.mark.parametrize("place", ["control/round-0002", "defenses"])
def test_killed_run_resumes_to_the_same_bytes(tiny_run: Path, tmp_path: Path, place: str) -> None:
    directory = tmp_path / "run"
    assert killed(directory, place, signal.SIGKILL) == -signal.SIGKILL
    inline.resume(directory)
    for name in ("adapter", "control/adapter"):
        file = f"{name}/adapter_model.safetensors"
        assert (directory / file).read_bytes() == (tiny_run / file).read_bytes()
    assert rounds_apart_from_times(directory / "rounds.jsonl") == rounds_apart_from_times(
        tiny_run / "rounds.jsonl"
    )


def test_plugins_beside_the_experiment_are_found_from_a_third_directory(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, experiment = tmp_path / "run", beside(tmp_path / "mine")
    changes = [option for text in BY_PATH for option in ("--set", text)]
    command = ("run", experiment, *RUN[2:], *changes)
    assert killed(directory, "round-0001", signal.SIGKILL, command=command) == -signal.SIGKILL
    monkeypatch.chdir(tmp_path)
    inline.resume(directory)
    file = "adapter/adapter_model.safetensors"
    assert (directory / file).read_bytes() == (tiny_run / file).read_bytes()


def test_rounding_errors_of_int8_outlast_a_kill(int8_run: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    assert killed(directory, "round-0002", signal.SIGKILL, "--set", INT8) == -signal.SIGKILL
    assert fedsafe("resume", directory).returncode == 0  # in a process that remembers nothing
    file = "adapter/adapter_model.safetensors"
    assert (directory / file).read_bytes() == (int8_run / file).read_bytes()


def test_what_clients_kept_is_gone_with_the_run(int8_run: Path) -> None:
    assert not list(int8_run.rglob("residuals"))


def test_interrupted_run_exits_with_130(tmp_path: Path) -> None:
    assert killed(tmp_path / "run", "round-0001", signal.SIGINT) == 130

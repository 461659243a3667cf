"""Limits of the server's memory: one reply raises an error instead of taking the machine."""

import os
import resource
import subprocess
import sys

import pytest

from fedsafe.errors import ConfigError
from server.memory_limit import VARIABLE, bounded_growth, limit_server_memory

MB = 2**20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA as Linux counts it")


def test_what_takes_more_than_its_share_raises_an_error() -> None:
    with pytest.raises(MemoryError), bounded_growth(64 * MB):
        bytearray(512 * MB)


def test_what_takes_less_is_made() -> None:
    with bounded_growth(64 * MB):
        made = bytearray(32 * MB)
    assert len(made) == 32 * MB


def test_the_limit_ends_with_the_context() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(MemoryError), bounded_growth(MB):
        bytearray(512 * MB)
    assert (resource.getrlimit(resource.RLIMIT_DATA), len(bytearray(512 * MB))) == (
        before,
        512 * MB,
    )


@pytest.mark.parametrize("text", ["much", "0", "-1", "0.1", "nan", "inf", "8 GiB"])
def test_setting_that_is_no_size_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ConfigError, match=f"{VARIABLE} is '{text}'"):
        limit_server_memory()


@pytest.mark.parametrize(("setting", "outcome"), [("0.75", "MemoryError"), ("", "made")])
def test_process_takes_no_more_than_its_operator_set(setting: str, outcome: str) -> None:
    code = (
        "from server.memory_limit import limit_server_memory\n"
        "limit_server_memory()\n"
        "try:\n    bytearray(2**30)\n    print('made')\n"
        "except MemoryError:\n    print('MemoryError')\n"
    )
    around = {**os.environ, VARIABLE: setting, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=around, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == outcome

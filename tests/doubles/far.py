"""Another machine, as the network sees it: a namespace with an address, that can vanish."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

HERE, THERE = "198.51.100.1", "198.51.100.2"
"""Of a range that is kept for documentation."""
CLONE_NEWNET = 0x40000000
T = TypeVar("T")


@dataclass(frozen=True)
class Far:
    """The machine at THERE; this one is HERE to it."""

    name: str

    def run(self, call: Callable[[], T]) -> T:
        """Call a function on that machine: sockets that it makes stay there."""
        with ThreadPoolExecutor(1, initializer=self._enter) as pool:
            return pool.submit(call).result()

    def vanish(self) -> None:
        """Take it off the network at once: nothing reaches it, and it says no word."""
        _ip("-n", self.name, "link", "set", f"{self.name}b", "down")

    def _enter(self) -> None:
        """Move this thread there."""
        file = os.open(Path("/run/netns") / self.name, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(file, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(file)


@contextmanager
def far_machine() -> Iterator[Far]:
    """Put one beside this machine; skip the test where that is not allowed."""
    far = Far(f"far{os.getpid()}")
    near, other = f"{far.name}a", f"{far.name}b"
    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")
    try:
        _ip("netns", "add", far.name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a network namespace cannot be made here: {error.stderr.strip()}")
    try:
        _ip("link", "add", near, "type", "veth", "peer", "name", other, "netns", far.name)
        _ip("address", "add", f"{HERE}/30", "dev", near)
        _ip("-n", far.name, "address", "add", f"{THERE}/30", "dev", other)
        _ip("link", "set", near, "up")
        _ip("-n", far.name, "link", "set", other, "up")
        yield far
    except subprocess.CalledProcessError as error:
        pytest.skip(f"two namespaces cannot be connected here: {error.stderr.strip()}")
    finally:
        _ip("netns", "delete", far.name)  # takes both ends of the link along
        subprocess.run(["ip", "link", "delete", near], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

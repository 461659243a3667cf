"""The front's configuration: taken by nginx, closed but for one path."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fedsafe.deployment.child_processes import wait_until
from fedsafe.deployment.server import certs
from fedsafe.deployment.server.nginx import Nginx, nginx
from fedsafe.deployment.server.plan import wait_for_port
from fedsafe.errors import LaunchError
from fedsafe.flower.environment import free_port

needs_nginx = pytest.mark.skipif(nginx() is None, reason="nginx is not installed (nginx-light)")


@pytest.fixture
def front(tmp_path: Path) -> Nginx:
    """A front with TLS on both sides, in a directory with a blank in its name."""
    home = tmp_path / "my run"
    certs.init(home / "certs", ["127.0.0.1"], clients=1, days=1)
    certs.write_loopback(home / "inside")
    return Nginx(
        f"127.0.0.1:{free_port()}", "127.0.0.1:9", home, home / "logs", home / "certs",
        home / "inside",
    )  # fmt: skip


@needs_nginx
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"tls": None},
        {"inside": None},
        {"tls": None, "inside": None},
        {"listen": "[::1]:18443", "upstream": "[::1]:9"},
        {"listen": "0.0.0.0:18443"},
    ],
    ids=str,
)
def test_nginx_takes_it(front: Nginx, change: dict[str, object]) -> None:
    replace(front, **change).child()  # type: ignore[arg-type]


@needs_nginx
@pytest.mark.parametrize("name", ['a"b', "a$b", "a\\b", "a\nb"])
def test_a_path_that_nginx_cannot_quote_is_said(front: Nginx, tmp_path: Path, name: str) -> None:
    with pytest.raises(LaunchError, match="cannot be given the path"):
        replace(front, logs=tmp_path / name).child()


@needs_nginx
def test_nginx_says_what_is_wrong(front: Nginx) -> None:
    with pytest.raises(
        LaunchError, match=r"nginx does not take .*front\.new\.conf: .*invalid port"
    ):
        replace(front, listen="127.0.0.1:99999").child()


@needs_nginx
def test_it_ends_with_the_one_who_started_it_whenever_that_is_killed(front: Nginx) -> None:
    draw = random.Random(0).uniform
    # With a master of its own, nginx misses a signal within the first 10 ms, at one kill in 100.
    moments = [draw(0, 0.01) for _ in range(150)] + [draw(0, 0.2) for _ in range(20)]
    with nursery(front) as start:
        for moment in moments:
            starter = start()
            time.sleep(moment)
            os.kill(starter, signal.SIGKILL)
            assert wait_until(lambda: not _left(front), 5, 0.01), f"after {moment * 1e3:.1f} ms"
            wait_for_port(front.listen, 5)


@needs_nginx
def test_more_silent_callers_than_it_has_files_for_keep_nobody_out(front: Nginx) -> None:
    files = 128
    with nursery(front, files) as start, ExitStack() as stack:
        start()
        assert wait_until(lambda: _answers(front), 10)
        for _ in range(2 * files):
            stack.enter_context(socket.create_connection(_address(front), 5))
        caller = stack.enter_context(socket.create_connection(_address(front), 5))
        caller.sendall(b"GET / HTTP/1.1\r\nHost: front\r\n\r\n")
        assert caller.recv(12) == b"HTTP/1.1 403"


@contextmanager
def nursery(front: Nginx, files: int = 1024) -> Iterator[Callable[[], int]]:
    """Yield what starts a process that starts a front, and returns the process's id."""
    home = subprocess.Popen(
        [sys.executable, "-c", NURSERY, front.listen, str(front.state), str(files)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def start() -> int:
        assert home.stdin is not None
        assert home.stdout is not None
        home.stdin.write("\n")
        home.stdin.flush()
        return int(home.stdout.readline())

    with home:
        try:
            yield start
        finally:
            for one in _left(front):
                one.kill()
            home.kill()


def _left(front: Nginx) -> list[psutil.Process]:
    """Return what runs of nginx."""
    config = str(front.state / "front.conf")
    every = psutil.process_iter(["cmdline"])
    return [one for one in every if config in " ".join(one.info["cmdline"] or ())]


NURSERY = """
import os, resource, sys, time
from pathlib import Path
from fedsafe.deployment.child_processes import end_with_parent
from fedsafe.deployment.server.nginx import Nginx
state, files = Path(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
front = Nginx(sys.argv[1], "127.0.0.1:9", state, state / "logs").child()
for _ in sys.stdin:
    if os.fork() == 0:
        end_with_parent()
        print(os.getpid(), flush=True)
        front.start()
        time.sleep(60)
    os.wait()
"""


@needs_nginx
def test_it_starts_again_where_it_was_killed(front: Nginx) -> None:
    child = front.child()
    for _ in range(5):
        child.start()
        assert wait_until(lambda: _answers(front), 10), child.last_log_line()
        child.kill()
        wait_for_port(front.listen, 5)


def _answers(front: Nginx) -> bool:
    """Return whether it lets a caller in."""
    with socket.socket() as caller:
        return caller.connect_ex(_address(front)) == 0


def _address(front: Nginx) -> tuple[str, int]:
    host, port = front.listen.split(":")
    return host, int(port)


def test_without_nginx_it_says_how_to_install_it(
    front: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(LaunchError, match="apt install nginx-light"):
        front.child()


def test_what_a_stranger_sends_as_a_token_goes_no_further(front: Nginx) -> None:
    assert 'proxy_set_header fedsafe-token "";' in front.config()

"""The front's configuration: taken by nginx, closed but for one path."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedsafe.errors import LaunchError
from fedsafe.launch.flower import free_port
from fedsafe.launch.processes import runs, wait_until
from fedsafe.launch.server_machine import certs
from fedsafe.launch.server_machine.front import Front, nginx

needs_nginx = pytest.mark.skipif(nginx() is None, reason="nginx is not installed (nginx-light)")


@pytest.fixture
def front(tmp_path: Path) -> Front:
    """A front with TLS on both sides, in a directory with a blank in its name."""
    home = tmp_path / "my run"
    certs.init(home / "certs", ["127.0.0.1"], clients=1, days=1)
    certs.write_loopback(home / "inside")
    return Front(
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
def test_nginx_takes_it(front: Front, change: dict[str, object]) -> None:
    replace(front, **change).child()  # type: ignore[arg-type]


@needs_nginx
@pytest.mark.parametrize("name", ['a"b', "a$b", "a\\b", "a\nb"])
def test_a_path_that_nginx_cannot_quote_is_said(front: Front, tmp_path: Path, name: str) -> None:
    with pytest.raises(LaunchError, match="cannot be given the path"):
        replace(front, logs=tmp_path / name).child()


@needs_nginx
def test_nginx_says_what_is_wrong(front: Front) -> None:
    with pytest.raises(LaunchError, match=r"nginx does not take .*front\.conf: .*invalid port"):
        replace(front, listen="127.0.0.1:99999").child()


@needs_nginx
def test_it_ends_with_the_one_who_started_it(front: Front) -> None:
    front.child()  # writes the configuration
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, front.listen, str(front.state)], stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    starter.stdout.close()
    assert wait_until(lambda: not runs(pid), 10)


STARTER = """
import socket, sys, time
from pathlib import Path
from fedsafe.launch.server_machine.front import Front
from fedsafe.launch.processes import wait_until
state = Path(sys.argv[2])
child = Front(sys.argv[1], "127.0.0.1:9", state, state / "logs").child()
child.start()

def up():
    host, port = sys.argv[1].split(":")
    with socket.socket() as caller:
        return caller.connect_ex((host, int(port))) == 0

assert wait_until(up, 20)
time.sleep(0.3)  # nginx forgets a signal that comes while it is still starting its workers
print(child.pid, flush=True)
time.sleep(60)
"""


def test_without_nginx_it_says_how_to_install_it(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(LaunchError, match="apt install nginx-light"):
        front.child()


def test_what_a_stranger_sends_as_a_token_goes_no_further(front: Front) -> None:
    assert 'proxy_set_header fedsafe-token "";' in front.config()

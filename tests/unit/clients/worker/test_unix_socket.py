"""The trainer's socket: one trainer on it, for one user's eyes."""

import os
import socket
import stat
from pathlib import Path

import pytest

from clients.worker.unix_socket import private_socket
from fedsafe.errors import LaunchError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "trainer.sock"


def test_socket_and_its_directory_are_for_this_user_alone(path: Path) -> None:
    with private_socket(path):
        modes = [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent)]
    assert modes == [0o600, 0o700]


def test_socket_takes_connections(path: Path) -> None:
    with private_socket(path) as listener, socket.socket(socket.AF_UNIX) as asker:
        asker.connect(str(path))
        listener.accept()[0].close()


def test_socket_is_gone_in_the_end(path: Path) -> None:
    with private_socket(path):
        pass
    assert not path.exists()


def test_second_trainer_is_a_sentence(path: Path) -> None:
    told = rf"A trainer \(process {os.getpid()}\) is at work on .*trainer.sock already"
    with private_socket(path), pytest.raises(LaunchError, match=told), private_socket(path):
        pass


def test_second_trainer_leaves_the_first_its_socket(path: Path) -> None:
    with private_socket(path):
        with pytest.raises(LaunchError), private_socket(path):
            pass
        assert path.is_socket()


def test_dead_trainers_socket_is_replaced(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with private_socket(path), socket.socket(socket.AF_UNIX) as asker:
        asker.connect(str(path))


def test_file_in_the_way_is_not_replaced(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("precious")
    with pytest.raises(LaunchError, match="is no socket"), private_socket(path):
        pass
    assert path.read_text() == "precious"


def test_directory_that_others_can_enter_is_a_sentence(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o755)
    with (
        pytest.raises(LaunchError, match=r"Others can enter .*mode 0755.*chmod 700"),
        private_socket(path),
    ):
        pass


def test_directory_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = "No trainer can be started"
    with pytest.raises(LaunchError, match=told), private_socket(tmp_path / "file" / "trainer.sock"):
        pass


def test_path_that_the_system_does_not_take_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120) / "trainer.sock"
    with pytest.raises(LaunchError, match=r"the system takes 107.*shorter"), private_socket(path):
        pass

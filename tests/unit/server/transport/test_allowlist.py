"""The allow list: read, followed as it changes, keys disabled in place."""

from pathlib import Path

import pytest

from fedsafe.deployment.server import certs
from fedsafe.errors import ConfigError
from server.transport.allowlist import LOOK_SECONDS, AllowList, read_allow


@pytest.fixture
def allow(tmp_path: Path) -> Path:
    """An allow list of three keys."""
    certs.init(tmp_path, [], clients=3, days=1)
    return tmp_path / "allow"


class Clock:
    """A clock that goes on by one look at each reading."""

    time = 0.0

    def __call__(self) -> float:
        self.time += LOOK_SECONDS
        return self.time


def names(listed: AllowList) -> list[str]:
    return [one.name for one in listed.read() if not one.revoked]


def mark(file: Path) -> None:
    file.write_text(f"@revoked {file.read_text()}")


def test_a_revoked_key_keeps_its_place(allow: Path) -> None:
    mark(allow / "node1.pub")
    assert [(one.number, one.revoked) for one in read_allow(allow)] == [
        (0, False), (1, True), (2, False),
    ]  # fmt: skip


def test_a_line_of_a_file_can_be_revoked(allow: Path, tmp_path: Path) -> None:
    lines = [(allow / f"node{n}.pub").read_text() for n in range(3)]
    (tmp_path / "list").write_text(f"# keys\n{lines[0]}@revoked {lines[1]}\n{lines[2]}")
    found = read_allow(tmp_path / "list")
    assert [(one.name, one.revoked) for one in found] == [
        ("node0", False), ("node1", True), ("node2", False),
    ]  # fmt: skip


def test_a_change_is_seen_at_the_next_look(allow: Path) -> None:
    listed = AllowList(allow, Clock())
    mark(allow / "node1.pub")
    assert names(listed) == ["node0", "node2"]


def test_the_disk_is_not_looked_at_more_often(allow: Path) -> None:
    listed = AllowList(allow, lambda: 5.0)
    mark(allow / "node1.pub")
    assert names(listed) == ["node0", "node1", "node2"]


def test_a_list_that_was_emptied_lets_nobody_in(allow: Path) -> None:
    listed = AllowList(allow, Clock())
    for file in allow.iterdir():
        file.unlink()
    assert (names(listed), listed.problem) == ([], "")


@pytest.mark.parametrize("content", [b"no key", b"\xff\xfe\x00"], ids=["text", "binary"])
def test_a_list_with_a_mistake_stays_as_it_was(allow: Path, content: bytes) -> None:
    listed = AllowList(allow, Clock())
    (allow / "stray.pub").write_bytes(content)
    assert names(listed) == ["node0", "node1", "node2"]
    assert "stray.pub" in listed.problem
    (allow / "stray.pub").unlink()
    assert (names(listed), listed.problem) == (["node0", "node1", "node2"], "")


def test_a_list_that_is_gone_stays_as_it_was(allow: Path, tmp_path: Path) -> None:
    listed = AllowList(allow, Clock())
    allow.rename(tmp_path / "away")
    assert names(listed) == ["node0", "node1", "node2"]


def test_a_server_does_not_start_with_an_empty_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lists no client's key"):
        read_allow(tmp_path)

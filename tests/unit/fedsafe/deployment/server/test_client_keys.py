"""Clients' keys: added, revoked and restored in place; what was removed stays removed."""

from pathlib import Path

import pytest

from fedsafe.deployment.server import certs, client_keys
from fedsafe.errors import ConfigError
from server.transport.allowlist import read_allow


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory as `fedsafe certs init` leaves it."""
    certs.init(tmp_path, [], clients=3, days=90)
    return tmp_path


def listed(place: Path) -> list[tuple[str, bool]]:
    return [(one.name, one.revoked) for one in read_allow(place)]


def test_a_revoked_key_stays_in_its_place(home: Path) -> None:
    assert client_keys.revoke(home, "node1")
    assert listed(home / "allow") == [("node0", False), ("node1", True), ("node2", False)]


def test_a_restored_key_is_the_key_that_it_was(home: Path) -> None:
    before = (home / "allow/node1.pub").read_bytes()
    client_keys.revoke(home, "node1")
    assert client_keys.restore(home, "node1")
    assert (home / "allow/node1.pub").read_bytes() == before


def test_revoking_again_changes_nothing(home: Path) -> None:
    client_keys.revoke(home, "node1")
    before = (home / "allow/node1.pub").read_bytes()
    assert not client_keys.revoke(home, "node1")
    assert (home / "allow/node1.pub").read_bytes() == before


def test_a_list_of_lines_is_marked_as_well(home: Path) -> None:
    lines = [(home / f"allow/node{n}.pub").read_text() for n in range(3)]
    (home / "list").write_text("# ours\n" + "".join(lines))
    client_keys.revoke(home / "list", "node1")
    assert listed(home / "list") == [("node0", False), ("node1", True), ("node2", False)]
    client_keys.restore(home / "list", "node1")
    assert (home / "list").read_text() == "# ours\n" + "".join(lines)


@pytest.mark.parametrize("private", [True, False], ids=["key here", "key with its client"])
@pytest.mark.parametrize("how", ["revoked", "removed"])
def test_init_does_not_bring_a_key_back(home: Path, how: str, private: bool) -> None:
    if not private:
        (home / "keys/node1").unlink()
    if how == "revoked":
        client_keys.revoke(home, "node1")
    else:
        (home / "allow/node1.pub").unlink()
    before = listed(home / "allow")
    certs.init(home, [], clients=3, days=90)
    assert listed(home / "allow") == before
    assert (home / "keys/node1").exists() is private


def test_init_says_what_it_does_not_bring_back(home: Path) -> None:
    (home / "allow/node1.pub").unlink()
    assert certs.init(home, [], clients=3, days=90).removed == ["node1"]


def test_a_removed_key_can_be_restored(home: Path) -> None:
    before = (home / "allow/node1.pub").read_bytes()
    (home / "allow/node1.pub").unlink()
    client_keys.restore(home, "node1")
    assert (home / "allow/node1.pub").read_bytes() == before


def test_a_client_is_added_with_a_pair(home: Path) -> None:
    made = client_keys.add(home, "late", None)
    assert [path.name for path in made.written] == ["late", "late.pub"]
    assert listed(home / "allow")[0] == ("late", False)


def test_a_client_is_added_with_a_key_of_its_own(home: Path, tmp_path: Path) -> None:
    certs.init(tmp_path / "theirs", [], clients=1, days=1)
    client_keys.add(home, "late", tmp_path / "theirs/allow/node0.pub")
    assert ("late", False) in listed(home / "allow")
    assert not (home / "keys/late").exists()


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", ".x", "x" * 65, "a/b", "a\nb"])
def test_a_name_that_is_none_is_refused(home: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a client's name"):
        client_keys.add(home, name, None)


@pytest.mark.parametrize("how", ["listed", "revoked", "removed"])
def test_a_name_that_was_given_is_not_given_again(home: Path, how: str) -> None:
    if how == "revoked":
        client_keys.revoke(home, "node1")
    elif how == "removed":
        (home / "allow/node1.pub").unlink()
    with pytest.raises(ConfigError, match="There is or was a client 'node1'"):
        client_keys.add(home, "node1", None)


def test_a_key_that_is_listed_is_not_added_again(home: Path) -> None:
    with pytest.raises(ConfigError, match="is listed already, as 'node0'"):
        client_keys.add(home, "late", home / "allow/node0.pub")


@pytest.mark.parametrize("call", [client_keys.revoke, client_keys.restore])
def test_nobody_of_that_name_is_named(home: Path, call: object) -> None:
    with pytest.raises(ConfigError, match=r"lists no client 'nobody'\. It lists node0, "):
        call(home, "nobody")  # type: ignore[operator]

"""A client's own directory: what is in it, and who may see it."""

import stat
from pathlib import Path

import pytest

from clients.node_config import NodeConfig
from fedsafe.deployment.client import state_dir
from fedsafe.deployment.client.identity import (
    Address,
    Identity,
    numbered,
    read_identity,
)
from fedsafe.deployment.client.machine import ClientOptions, _node
from fedsafe.deployment.client.supernode import Settings
from fedsafe.errors import ConfigError, LaunchError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.runs.events import Event, Events

ONE = Identity("node0", "0123456789abcdef", path=Path("/keys/node0"), secret=b"s" * 32)


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_each_key_has_a_closed_directory(tmp_path: Path) -> None:
    home = state_dir.place(tmp_path / "state", ONE)
    assert home == tmp_path / "state" / "0123456789abcdef"
    assert (mode(home), mode(home.parent)) == (0o700, 0o700)


def test_a_directory_that_was_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / ONE.short).mkdir(mode=0o755)
    assert mode(state_dir.place(tmp_path, ONE)) == 0o700


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written: .*Choose another directory"):
        state_dir.place(tmp_path / "file", ONE)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Choose a shorter --state"):
        state_dir.socket_in(tmp_path / ("x" * 100))


def test_one_key_runs_once(tmp_path: Path) -> None:
    with (
        state_dir.locked(tmp_path, ONE),
        pytest.raises(LaunchError, match=r"process \d+\) runs with the key node0"),
        state_dir.locked(tmp_path, ONE),
    ):
        pass


def test_a_key_is_free_again(tmp_path: Path) -> None:
    with state_dir.locked(tmp_path, ONE):
        pass
    with state_dir.locked(tmp_path, ONE):
        pass


def test_a_client_without_key_draws_a_secret_once(tmp_path: Path) -> None:
    drawn = state_dir.secret(tmp_path, numbered(1))
    assert state_dir.secret(tmp_path, numbered(1)) == drawn
    assert len(drawn) == 32
    assert mode(tmp_path / "secret") == 0o600


def test_a_socket_without_trainer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"No trainer of this user answers on .*none\.sock"):
        state_dir.check_trainer(tmp_path / "none.sock")


def write(tmp_path: Path, heard: list[Event], behaviour: PluginChoice | None = None) -> Settings:
    """Write a site's file as `fedsafe client` does."""
    home = state_dir.place(tmp_path, ONE)
    wanted = ClientOptions(
        server=Address("localhost", 8443),
        authority=tmp_path / "ca.crt",
        identities=(ONE,),
        state=tmp_path,
        data=(PluginChoice(name="micro", count=7),),
        model="/models/here",
        device="cpu",
        behaviour=behaviour,
        plugins=("mine:template",),
    )
    return _node(wanted, 0, home, home / "trainer.sock", Events(None, heard.append))


def test_site_file_holds_what_the_operator_decided(tmp_path: Path) -> None:
    heard: list[Event] = []
    node = write(tmp_path, heard, PluginChoice(name="sign-flip", scale=2.0))
    read, home = NodeConfig.read(node.site), node.site.parent
    assert read.model_dump(exclude={"data"}) == {
        "socket": home / "trainer.sock",
        "state": home,
        "source": {"name": "micro", "count": 7},
        "model": "/models/here",
        "device": "cpu",
        "rank": None,
        "red_team": True,
        "behaviour": {"name": "sign-flip", "scale": 2.0},
        "generator": None,
        "plugins": ("mine:template",),
        "silence": 60.0,
        "start_adapter": None,
        "collude": None,
        "collude_wait": 300.0,
        "contaminated": False,
    }
    assert len(read.data) == 64
    assert [(event.kind, event.data["examples"]) for event in heard] == [("data", 7)]


def test_site_file_is_for_its_user_alone(tmp_path: Path) -> None:
    node = write(tmp_path, [])
    assert mode(node.site) == 0o600


def test_honest_client_has_no_behaviour(tmp_path: Path) -> None:
    read = NodeConfig.read(write(tmp_path, []).site)
    assert (read.red_team, read.behaviour) == (False, None)


@pytest.mark.parametrize("name", ["plain", "with a space", 'a"b', "a'b", "a\\b", "ü"])
def test_node_reads_its_settings_back(tmp_path: Path, name: str) -> None:
    node = write(tmp_path / name, [])
    assert Settings.read(node.command()[3:]) == node
    assert (node.key, node.number) == (Path("/keys/node0"), None)
    assert node.name == "node0 (0123456789abcdef)"


def test_a_client_without_key_has_one_made_and_keeps_it(tmp_path: Path) -> None:
    made = state_dir.own_key(tmp_path)
    before = made.read_bytes()
    assert state_dir.own_key(tmp_path).read_bytes() == before
    assert mode(made) == 0o600
    assert read_identity(made).path == made


def test_a_client_without_key_tells_its_number(tmp_path: Path) -> None:
    wanted = ClientOptions(Address("localhost", 1), None, (numbered(3),), tmp_path)
    node = _node(wanted, 0, tmp_path, tmp_path / "trainer.sock", Events(None, None))
    assert Settings.read(node.command()[3:]) == node
    assert (node.number, node.authority) == (3, None)

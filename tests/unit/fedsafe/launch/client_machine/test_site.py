"""A client's own directory: what is in it, and who may see it."""

import stat
from pathlib import Path

import pytest

from clients.site import Site
from fedsafe.errors import ConfigError, LaunchError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.launch.client_machine import site
from fedsafe.launch.client_machine.client import Wanted, _node
from fedsafe.launch.client_machine.identity import Address, Identity, numbered
from fedsafe.launch.client_machine.supernode import Node
from fedsafe.runs.events import Event, Events

ONE = Identity("node0", "0123456789abcdef", path=Path("/keys/node0"), secret=b"s" * 32)


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_each_key_has_a_closed_directory(tmp_path: Path) -> None:
    home = site.place(tmp_path / "state", ONE)
    assert home == tmp_path / "state" / "0123456789abcdef"
    assert (mode(home), mode(home.parent)) == (0o700, 0o700)


def test_a_directory_that_was_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / ONE.short).mkdir(mode=0o755)
    assert mode(site.place(tmp_path, ONE)) == 0o700


@pytest.mark.parametrize("name", ['a"b', "a'b", "a\\b", "a\nb"])
def test_a_path_that_flower_cannot_be_told_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Choose another directory"):
        site.place(tmp_path / name, ONE)


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written: .*Choose another directory"):
        site.place(tmp_path / "file", ONE)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Choose a shorter --state"):
        site.socket_in(tmp_path / ("x" * 100))


def test_one_key_runs_once(tmp_path: Path) -> None:
    with (
        site.locked(tmp_path, ONE),
        pytest.raises(LaunchError, match=r"process \d+\) runs with the key node0"),
        site.locked(tmp_path, ONE),
    ):
        pass


def test_a_key_is_free_again(tmp_path: Path) -> None:
    with site.locked(tmp_path, ONE):
        pass
    with site.locked(tmp_path, ONE):
        pass


def test_a_client_without_key_draws_a_secret_once(tmp_path: Path) -> None:
    drawn = site.secret(tmp_path, numbered(1))
    assert site.secret(tmp_path, numbered(1)) == drawn
    assert len(drawn) == 32
    assert mode(tmp_path / "secret") == 0o600


def test_a_socket_without_trainer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"No trainer of this user answers on .*none\.sock"):
        site.check_trainer(tmp_path / "none.sock")


def write(tmp_path: Path, heard: list[Event], behaviour: PluginChoice | None = None) -> Node:
    """Write a site's file as `fedsafe client` does."""
    home = site.place(tmp_path, ONE)
    wanted = Wanted(
        server=Address("localhost", 8443),
        authority=tmp_path / "ca.crt",
        identities=(ONE,),
        state=tmp_path,
        data=(PluginChoice(name="micro", count=7),),
        model="/models/here",
        device="cpu",
        behaviour=behaviour,
    )
    return _node(wanted, 0, home, home / "trainer.sock", Events(None, heard.append))


def test_site_file_holds_what_the_operator_decided(tmp_path: Path) -> None:
    heard: list[Event] = []
    node = write(tmp_path, heard, PluginChoice(name="sign-flip", scale=2.0))
    read = Site.read(node.site)
    assert read.model_dump(exclude={"data"}) == {
        "socket": node.home / "trainer.sock",
        "state": node.home,
        "source": {"name": "micro", "count": 7},
        "model": "/models/here",
        "device": "cpu",
        "rank": None,
        "red_team": True,
        "behaviour": {"name": "sign-flip", "scale": 2.0},
        "generator": None,
        "silence": 60.0,
    }
    assert len(read.data) == 64
    assert [(event.kind, event.data["examples"]) for event in heard] == [("data", 7)]


def test_site_file_is_for_its_user_alone(tmp_path: Path) -> None:
    node = write(tmp_path, [])
    assert mode(node.site) == 0o600


def test_honest_client_has_no_behaviour(tmp_path: Path) -> None:
    read = Site.read(write(tmp_path, []).site)
    assert (read.red_team, read.behaviour) == (False, None)


def test_supernode_is_told_its_key_its_site_and_a_port_of_its_own(tmp_path: Path) -> None:
    node = write(tmp_path, [])
    command, again = node.command(), node.command()
    assert command[command.index("--auth-supernode-private-key") + 1] == "/keys/node0"
    assert command[command.index("--node-config") + 1] == f'fedsafe-site="{node.site}"'
    assert command[command.index("--port") + 1] != again[again.index("--port") + 1]


def test_flower_reads_the_sites_path_back(tmp_path: Path) -> None:
    from flwr.common.config import parse_config_args

    node = write(tmp_path / "with a space", [])
    told = node.command()[node.command().index("--node-config") + 1]
    assert parse_config_args([told]) == {"fedsafe-site": str(node.site)}


def test_a_client_without_key_tells_its_number(tmp_path: Path) -> None:
    node = Node(Address("localhost", 1), None, numbered(3), tmp_path / "site.json", tmp_path)
    command = node.command()
    assert "--insecure" in command
    assert command[-1] == f'fedsafe-site="{tmp_path}/site.json" partition-id=3'

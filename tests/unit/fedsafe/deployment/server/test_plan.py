"""What a server refuses before it starts anything: one sentence each."""

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedsafe.deployment.server import certs, client_keys
from fedsafe.deployment.server.nginx import nginx
from fedsafe.deployment.server.plan import ServerOptions, claim, plan, wait_for_port
from fedsafe.errors import ConfigError, FedSafeError, LaunchError, RunError
from fedsafe.experiment import Experiment
from fedsafe.experiment.load import as_yaml
from fedsafe.flower.environment import free_port
from fedsafe.runs.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates, and keys for the four clients of the experiment."""
    home = tmp_path_factory.mktemp("plan") / "certs"
    certs.init(home, ["127.0.0.1"], clients=4, days=90)
    return home


@pytest.fixture
def asked(made: Path) -> ServerOptions:
    """A public server as it should be."""
    return ServerOptions("0.0.0.0:8443", made, made / certs.ALLOW)


@pytest.mark.skipif(nginx() is None, reason="nginx is not installed (nginx-light)")
def test_a_public_server_with_all_it_needs_is_planned(
    asked: ServerOptions, experiment: Experiment, tmp_path: Path
) -> None:
    found = plan(experiment, tmp_path / "run", asked)
    assert (found.address, found.fronted, len(found.keys)) == ("0.0.0.0:8443", True, 4)


def test_a_trial_on_this_machine_needs_nothing(experiment: Experiment, tmp_path: Path) -> None:
    found = plan(experiment, tmp_path / "run", ServerOptions("127.0.0.1:8443"))
    assert (found.tls, found.keys) == (None, ())


def test_planning_writes_nothing(experiment: Experiment, tmp_path: Path) -> None:
    plan(experiment, tmp_path / "run", ServerOptions("127.0.0.1:8443"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("localhost:8443", "127.0.0.1:8443"),
        ("127.0.0.1:08443", "127.0.0.1:8443"),
        ("[::1]:8443", "[::1]:8443"),
        ("[0:0::1]:8443", "[::1]:8443"),
    ],
)
def test_addresses_are_written_one_way(
    experiment: Experiment, tmp_path: Path, listen: str, address: str
) -> None:
    assert plan(experiment, tmp_path / "run", ServerOptions(listen)).address == address


@pytest.mark.parametrize(
    "listen",
    ["", "8443", ":8443", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
     "127.0.0.1:https", "fl.example.org:8443", "::1:8443", "300.0.0.1:8443"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(
    experiment: Experiment, tmp_path: Path, listen: str
) -> None:
    with pytest.raises(ConfigError, match="write an IP address of this machine and a port"):
        plan(experiment, tmp_path / "run", ServerOptions(listen))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tls": None, "allow": None}, "needs --tls and --allow"),
        ({"allow": None}, "needs --allow"),
        ({"tls": None}, "--allow needs --tls"),
        ({"tls": None, "listen": "127.0.0.1:8443"}, "--allow needs --tls"),
        ({"listen": "[::]:8443", "allow": None}, "needs --allow"),
        ({"listen": "192.0.2.7:8443", "tls": None, "allow": None}, "needs --tls and --allow"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_strangers_stay_out(
    asked: ServerOptions,
    experiment: Experiment,
    tmp_path: Path,
    change: dict[str, object],
    said: str,
) -> None:
    with pytest.raises(ConfigError, match=said):
        plan(experiment, tmp_path / "run", replace(asked, **change))  # type: ignore[arg-type]


def test_strangers_are_let_in_by_whoever_knows(experiment: Experiment, tmp_path: Path) -> None:
    assert plan(experiment, tmp_path / "run", ServerOptions("0.0.0.0:8443", open=True)).keys == ()


def test_a_public_server_needs_nginx(
    asked: ServerOptions, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(LaunchError, match="apt install nginx-light"):
        plan(experiment, tmp_path / "run", asked)


@pytest.mark.parametrize("clients", [3, 5])
def test_keys_and_clients_are_as_many(
    asked: ServerOptions, experiment: Experiment, tmp_path: Path, clients: int
) -> None:
    changed = experiment.federation.model_copy(update={"clients": clients})
    with pytest.raises(ConfigError, match=rf"lists 4 keys, and the experiment has {clients}"):
        plan(experiment.model_copy(update={"federation": changed}), tmp_path / "run", asked)


def test_a_certificate_that_has_ended_is_refused(
    asked: ServerOptions, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedsafe.deployment.server import certificate_signing

    later = certificate_signing.in_days(100)
    monkeypatch.setattr("fedsafe.deployment.server.certificate_signing.now", lambda: later)
    with pytest.raises(ConfigError, match=r"server\.crt ended on .* `fedsafe certs init` again"):
        plan(experiment, tmp_path / "run", asked)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tls": Path("nowhere")}, r"server\.crt cannot be read"),
        ({"allow": Path("nowhere")}, "allow list nowhere cannot be read"),
    ],
    ids=["tls", "allow"],
)
def test_files_are_looked_for(
    asked: ServerOptions, experiment: Experiment, tmp_path: Path, change: dict[str, Path], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        plan(experiment, tmp_path / "run", replace(asked, **change))


def test_a_directory_of_another_experiment_is_refused(
    asked: ServerOptions, experiment: Experiment, tmp_path: Path
) -> None:
    other = experiment.model_copy(update={"seed": 9})
    (tmp_path / "experiment.yaml").write_text(as_yaml(other))
    with pytest.raises(RunError, match="holds another experiment"):
        plan(experiment, tmp_path, ServerOptions("127.0.0.1:8443"))


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(LaunchError, match="another program listens there"):
            wait_for_port(address, 0.0)


def test_an_address_of_another_machine_is_said() -> None:
    with pytest.raises(LaunchError, match="this machine has no such address"):
        wait_for_port("192.0.2.7:8443", 0.0)


def test_all_of_ipv6_is_free_beside_all_of_ipv4() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        wait_for_port(f"[::]:{listener.getsockname()[1]}", 0.0)


def test_a_port_is_waited_for() -> None:
    port = free_port()
    holder = (
        f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); "
        "print(flush=True); time.sleep(0.5)"
    )
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wait_for_port(f"127.0.0.1:{port}", 20.0)


def test_a_second_server_is_told_of_the_first(tmp_path: Path) -> None:
    again = pytest.raises(RunError, match=r"Another `fedsafe server` \(process \d+")
    with claim(tmp_path), again, claim(tmp_path):
        pass


def test_a_claim_is_closed_to_others_and_ends(tmp_path: Path) -> None:
    with claim(tmp_path):
        assert (tmp_path / ".server").stat().st_mode & 0o077 == 0
    with claim(tmp_path):
        pass


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FedSafeError, match="cannot be written"), claim(tmp_path / "file" / "run"):
        pass


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Certificates of four clients, to be changed."""
    certs.init(tmp_path / "certs", ["127.0.0.1"], clients=4, days=90)
    return tmp_path / "certs"


def _joined(directory: Path, allow: Path) -> None:
    """Leave a run directory as a first start with this list does."""
    from server.transport.allowlist import read_allow
    from server.transport.key_numbers import KeyNumbers

    numbers = KeyNumbers(Store(directory))
    numbers.assign(read_allow(allow))
    numbers.save()


def test_a_removed_key_neither_stops_a_run_nor_renumbers_it(
    own: Path, experiment: Experiment, tmp_path: Path
) -> None:
    _joined(tmp_path / "run", own / "allow")
    (tmp_path / "run/experiment.yaml").write_text(as_yaml(experiment))
    (own / "allow/node1.pub").unlink()
    found = plan(experiment, tmp_path / "run", ServerOptions("127.0.0.1:8443", own, own / "allow"))
    assert {one.name: one.number for one in found.keys} == {"node0": 0, "node2": 2, "node3": 3}
    assert "No key may take part as client 1." in found.notes


def test_a_revoked_key_does_not_stop_a_first_start(
    own: Path, experiment: Experiment, tmp_path: Path
) -> None:
    client_keys.revoke(own, "node1")
    found = plan(experiment, tmp_path / "run", ServerOptions("127.0.0.1:8443", own, own / "allow"))
    assert "No key may take part as client 1." in found.notes


def test_fewer_keys_are_all_right_for_whoever_says_so(
    own: Path, experiment: Experiment, tmp_path: Path
) -> None:
    changed = experiment.federation.model_copy(update={"clients": 5})
    larger = experiment.model_copy(update={"federation": changed})
    asked = ServerOptions("127.0.0.1:8443", own, own / "allow", fewer=True)
    assert len(plan(larger, tmp_path / "run", asked).keys) == 4


def test_too_few_keys_for_a_round_are_refused(
    own: Path, experiment: Experiment, tmp_path: Path
) -> None:
    for number in range(4):
        client_keys.revoke(own, f"node{number}")
    with pytest.raises(ConfigError, match="lets 0 of the experiment's 4 clients take part"):
        plan(experiment, tmp_path / "run", ServerOptions("127.0.0.1:8443", own, own / "allow"))

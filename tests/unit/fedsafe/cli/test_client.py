"""`fedsafe client`: what its options ask for, and the sentence for each that is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fedsafe.cli import main
from fedsafe.deployment.client import machine
from fedsafe.deployment.client.machine import ClientOptions
from fedsafe.deployment.server import certs
from fedsafe.flower.environment import free_port
from fedsafe.runs.events import Event

Capture = pytest.CaptureFixture[str]
TLS = ("--server", "localhost:8443", "--tls", "ca.crt", "--key", "keys/node0")
PLAIN = ("--server", "localhost:8443", "--insecure", "--number", "0")


@pytest.fixture(autouse=True)
def _keys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory with an authority, two keys and a file of data."""
    directory = tmp_path_factory.getbasetemp() / "client-keys"
    if not directory.exists():
        certs.init(directory, ["localhost"], 2, 1)
        (directory / "my.jsonl").write_text('{"instruction": "say a", "response": "a"}\n')
    monkeypatch.chdir(directory)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ClientOptions]:
    """Give a command line, and get what it asks for; nothing is started."""

    def ask(*arguments: str) -> ClientOptions:
        found: list[ClientOptions] = []
        monkeypatch.setattr(machine, "run", lambda wanted, listen: found.append(wanted))
        assert main(["client", *arguments]) == 0
        return found[0]

    return ask


def test_a_client_with_its_own_data(asked: Callable[..., ClientOptions], tmp_path: Path) -> None:
    wanted = asked(*TLS, "--data", "my.jsonl", "--gpu", "1", "--state", str(tmp_path))
    assert str(wanted.server) == "localhost:8443"
    assert wanted.authority == Path("ca.crt").absolute()
    assert [one.name for one in wanted.identities] == ["node0"]
    assert wanted.data[0].settings == {"path": str(Path("my.jsonl").absolute())}
    assert (wanted.gpu, wanted.device, wanted.state) == ("1", "cuda", tmp_path)
    assert wanted.behaviour is None


def test_several_clients_in_step(asked: Callable[..., ClientOptions]) -> None:
    wanted = asked(*TLS, "--key", "keys/node1", "--data", "my.jsonl", "--data", "micro:count=3")
    assert [one.name for one in wanted.identities] == ["node0", "node1"]
    assert [one.name for one in wanted.data] == ["jsonl", "micro"]


def test_an_attacker(asked: Callable[..., ClientOptions]) -> None:
    wanted = asked(
        *TLS, "--red-team", "--behaviour", "poisoned-data", "--set", "behaviour.share=0.5"
    )
    assert wanted.behaviour is not None
    assert wanted.behaviour.model_dump() == {"name": "poisoned-data", "share": 0.5}


def test_a_client_on_the_cpu_hides_the_gpus(asked: Callable[..., ClientOptions]) -> None:
    wanted = asked(*PLAIN, "--device", "cpu")
    assert (wanted.device, wanted.gpu) == ("cpu", "")


def test_state_is_at_home_by_default(
    asked: Callable[..., ClientOptions], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert asked(*PLAIN).state == tmp_path / ".fedsafe" / "clients"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*TLS, "--insecure"), "not both"),
        (("--server", "localhost:8443", "--key", "keys/node0"), "Give --tls ca.crt, or --insecure"),
        (("--server", "localhost", "--insecure", "--number", "0"), "Write HOST:PORT"),
        ((*TLS, "--number", "0"), "Give --key with this client's private key, or --number"),
        (TLS[:4], "Give --key with this client's private key, or --number"),
        ((*PLAIN, "--key", "keys/node0"), "keys are proven over TLS only"),
        ((*PLAIN, "--number", "0"), "client 0 is given twice"),
        ((*TLS, "--key", "keys/node0"), "node0 is given twice"),
        ((*TLS[:4], "--key", "allow/node0.pub"), "is a public key"),
        ((*TLS[:2], "--tls", "ca.key", "--key", "keys/node0"), "no certificate in PEM format"),
        ((*TLS, "--data", "my.jsonl", "--data", "my.jsonl"), "--data is given 2 times for 1"),
        ((*TLS, "--data", "gone.jsonl"), "there is no file"),
        ((*TLS, "--model", "keys"), "it has no config.json"),
        ((*TLS, "--gpu", "0", "--device", "cpu"), "leave out --device"),
        ((*TLS, "--gpu", "0", "--trainer", "x.sock"), "leave out --trainer"),
        ((*TLS, "--gpu", "first"), "give a GPU's number or its UUID"),
        ((*TLS, "--device", "gpu"), "give cpu or cuda"),
        ((*TLS, "--red-team"), "say what the attacker does with --behaviour"),
        ((*TLS, "--behaviour", "sign-flip"), "Add --red-team"),
        ((*TLS, "--generator", "file"), "Add --red-team"),
        ((*TLS, "--set", "behaviour.scale=2"), "Add --red-team"),
        ((*TLS, "--red-team", "--behaviour", "sign-flop"), "Did you mean 'sign-flip'"),
        ((), "Missing option '--server'"),
    ],
)
def test_what_is_wrong_is_a_sentence(
    arguments: tuple[str, ...], said: str, capsys: Capture
) -> None:
    assert main(["client", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert "Traceback" not in complaint


def test_a_trainer_that_is_not_there_is_a_sentence(capsys: Capture, tmp_path: Path) -> None:
    arguments = ("--trainer", str(tmp_path / "none.sock"), "--state", str(tmp_path))
    assert main(["client", *PLAIN, *arguments]) == 1
    assert "No trainer of this user answers on" in capsys.readouterr().err


def test_broken_data_is_a_sentence_before_anything_starts(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{\n")
    server = f"localhost:{free_port()}"
    with TemporaryDirectory() as state:  # a socket's path must be short
        arguments = ("--data", str(tmp_path / "bad.jsonl"), "--state", state)
        assert main(["client", "--server", server, *TLS[2:], *arguments]) == 2
    assert "bad.jsonl, line 1" in capsys.readouterr().err


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a client that tells one thing and is then interrupted."""

    def run(wanted: ClientOptions, listen: Callable[[Event], None]) -> None:
        data = {"name": "node0", "round": 2}
        listen(Event("job-failed", "round 2 failed:\n\x1b[2Jno", data, 1_700_000_000.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(machine, "run", run)


@pytest.mark.usefixtures("telling")
def test_events_are_lines_and_an_interrupt_is_130(capsys: Capture) -> None:
    assert main(["client", *PLAIN]) == 130
    said = capsys.readouterr()
    assert said.out.split(maxsplit=1)[1] == "node0       round 2 failed: [2Jno\n"
    assert "nothing runs on" in said.err


@pytest.mark.usefixtures("telling")
def test_events_are_json_for_programs(capsys: Capture) -> None:
    assert main(["client", *PLAIN, "--json"]) == 130
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["name"], told["round"]) == ("job-failed", "node0", 2)

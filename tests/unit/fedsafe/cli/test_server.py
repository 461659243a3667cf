"""`fedsafe server` and `fedsafe certs` as a user types them: no process is started here."""

import json
from pathlib import Path

import pytest

from fedsafe.cli import main
from fedsafe.experiment import load
from fedsafe.experiment.load import as_yaml
from fedsafe.runs.records import Summary
from fedsafe.runs.store import Store

Captured = pytest.CaptureFixture[str]
INIT = ("certs", "init", "--host", "fl.example.org", "--clients", "2", "-o")


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("cli") / "certs"
    assert main([*INIT, str(home)]) == 0
    return home


def said(capsys: Captured) -> str:
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "0.0.0.0:8443"], "--tls and --allow"),
        (["--listen", "0.0.0.0:8443", "--tls", "DIR"], "needs --allow"),
        (["--allow", "DIR/allow"], "--allow needs --tls"),
        (["--listen", "fl.example.org:8443"], "write an IP address of this machine"),
        (["--tls", "nowhere"], "nowhere/server.crt cannot be read"),
        (["--tls", "DIR", "--allow", "nowhere"], "The allow list nowhere cannot be read"),
        (["--tls", "DIR", "--allow", "DIR/allow"], "lists 2 keys, and the experiment has 10"),
        (["--experiment", "nothing.yaml"], "nothing.yaml"),
        (["--set", "federation.clients=none"], "federation.clients"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_one_sentence(
    certs: Path, tmp_path: Path, capsys: Captured, options: list[str], words: str
) -> None:
    given = [option.replace("DIR", str(certs)) for option in options]
    assert main(["server", *given, "-o", str(tmp_path / "run")]) == 2
    error = said(capsys)
    assert words in error
    assert error.startswith("error: ")
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_completed_is_only_shown(tmp_path: Path, capsys: Captured) -> None:
    store = Store(tmp_path)
    experiment = load("micro")
    (tmp_path / "experiment.yaml").write_text(as_yaml(experiment))
    store.write_summary(Summary(name="micro", experiment="x", status="completed"))
    assert main(["server", "-o", str(tmp_path)]) == 0
    assert "completed; nothing to run" in capsys.readouterr().out


def test_a_directory_of_another_experiment_is_left_alone(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "experiment.yaml").write_text(as_yaml(load("micro", ["seed=9"])))
    assert main(["server", "-o", str(tmp_path)]) == 1
    assert "holds another experiment" in said(capsys)


def test_certs_say_what_goes_where(certs: Path, capsys: Captured) -> None:
    capsys.readouterr()
    assert main([*INIT, str(certs)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for words in (
        "stay on the server: --tls",
        "to every client: --tls",
        "to client N alone: --key",
    ):
        assert words in told


def test_certs_tell_programs_what_was_written(tmp_path: Path, capsys: Captured) -> None:
    home = tmp_path / "certs"
    given = [*INIT, str(home), "--json"]
    assert main(given) == 0
    told = json.loads(capsys.readouterr().out)
    assert {Path(name).name for name in told["written"]} == {
        "ca.crt", "ca.key", "server.crt", "server.key", "node0", "node0.pub", "node1", "node1.pub",
    }  # fmt: skip
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out)["written"] == []


def test_certs_refuse_a_host_that_is_none(tmp_path: Path, capsys: Captured) -> None:
    assert main(["certs", "init", "--host", "a b", "-o", str(tmp_path / "certs")]) == 2
    assert "neither a DNS name nor an IP address" in said(capsys)


def test_certs_are_looked_at(certs: Path, capsys: Captured) -> None:
    capsys.readouterr()
    assert main(["certs", "check", str(certs), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["hosts"][0], told["signed"], told["problems"]) == ("fl.example.org", True, [])


def test_certs_that_are_not_there_are_said(tmp_path: Path, capsys: Captured) -> None:
    assert main(["certs", "check", str(tmp_path)]) == 2
    assert "cannot be read" in said(capsys)

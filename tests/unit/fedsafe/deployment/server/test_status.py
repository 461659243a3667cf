"""How a run is doing, read from its directory: while it runs, after its end, after a kill."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fedsafe.deployment.server import certs, client_keys, status
from fedsafe.deployment.server.metrics import serve_metrics
from fedsafe.deployment.server.status import NODES, read_status
from fedsafe.errors import LaunchError, RunError
from fedsafe.experiment import Experiment
from fedsafe.experiment.load import as_yaml
from fedsafe.flower.environment import free_port
from fedsafe.runs.events import Events
from fedsafe.runs.files import flock
from fedsafe.runs.records import Client, Round, Summary
from fedsafe.runs.store import Store
from server.progress_file import ProgressFile
from server.transport.allowlist import read_allow
from server.transport.key_numbers import KeyNumbers, fingerprint


@pytest.fixture
def run(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of four clients in its second round, one reply of which is there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    certs.init(tmp_path / "certs", ["127.0.0.1"], clients=4, days=90)
    store = Store(tmp_path / "run")
    numbers = KeyNumbers(store)
    keys = numbers.assign(read_allow(tmp_path / "certs/allow"))
    numbers.save()
    (store.directory / "experiment.yaml").write_text(as_yaml(experiment))
    clients = [
        Client(client=n, malicious=False, status="dropped" if n == 2 else "accepted",
               reason="not finite" if n == 2 else "") for n in range(4)
    ]  # fmt: skip
    first = Round(round=1, cohort=[0, 1, 2, 3], clients=clients, learning_rate=1.0, adapter="")
    store.write_rounds([first])
    events = Events(None, ProgressFile(store.directory).hear)
    events("stage-start", stage="trained")
    events("round-start", federation="main", round=2, rounds=experiment.federation.rounds)
    events("client", client=1, status="accepted")
    status.enter(store.directory, "127.0.0.1:1", tmp_path / "certs", tmp_path / "certs/allow")
    seen: dict[str, Any] = {
        fingerprint(one.key): {"online": one.number != 3, "seen": 1000.0 + one.number}
        for one in keys
    }
    (store.directory / ".server" / NODES).write_text(json.dumps(seen))
    return store.directory


def test_a_round_waits_for_who_has_not_answered(run: Path) -> None:
    with flock(run / ".server/lock", lambda _: RunError("")):
        found = read_status(run)
    assert (found.state, found.address, found.stage) == ("running", "127.0.0.1:1", "trained")
    assert (found.round, found.waiting, found.connected) == (2, [0, 2, 3], 3)
    assert found.certificate_days in {89, 90}


def test_every_client_has_a_name_and_a_history(run: Path) -> None:
    client_keys.revoke(run.parent / "certs", "node3")
    with flock(run / ".server/lock", lambda _: RunError("")):
        found = read_status(run).clients
    assert [one.name for one in found] == ["node0", "node1", "node2", "node3"]
    assert (found[2].replies, found[2].last) == ({"dropped": 1}, "dropped: not finite")
    assert (found[3].connected, found[3].seen, found[3].revoked) == (False, 1003.0, True)


def test_a_run_that_was_killed_is_stopped_and_waits_for_nobody(run: Path) -> None:
    found = read_status(run)
    assert (found.state, found.waiting, found.address) == ("stopped", [], "")
    assert {one.connected for one in found.clients} == {None}


def test_a_run_that_ended_says_how(run: Path) -> None:
    Store(run).write_summary(Summary(name="x", experiment="", status="failed", reason="no room"))
    found = read_status(run)
    assert (found.state, found.reason) == ("failed", "no room")


def test_what_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run directory"):
        read_status(tmp_path)


def test_servers_that_run_are_found_and_others_not(run: Path) -> None:
    assert status.servers() == []
    with flock(run / ".server/lock", lambda _: RunError("")):
        assert status.servers() == [run]


def test_figures_are_served_on_loopback_alone(run: Path) -> None:
    port = free_port()
    with flock(run / ".server/lock", lambda _: RunError("")):
        serve_metrics(run, port)
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    assert "fedsafe_round 2.0" in text
    assert 'fedsafe_client_awaited{client="2",name="node2"} 1.0' in text
    assert 'fedsafe_client_replies_total{client="2",name="node2",status="dropped"} 1.0' in text


def test_a_port_that_is_taken_is_a_sentence(run: Path) -> None:
    port = free_port()
    serve_metrics(run, port)
    with pytest.raises(LaunchError, match=f"--metrics {port}: .* Choose another port"):
        serve_metrics(run, port)

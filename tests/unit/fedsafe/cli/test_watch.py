"""`fedsafe watch`: where a run is, from another terminal, and its end."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fedsafe.cli import main, watch
from fedsafe.errors import RunError
from fedsafe.experiment import Experiment
from fedsafe.experiment.load import as_yaml
from fedsafe.runs.events import Events
from fedsafe.runs.files import flock
from fedsafe.runs.records import Summary
from fedsafe.runs.store import Store
from tests.unit.fedsafe.report.synthetic import federation, stages

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.01)


@pytest.fixture
def run(experiment: Experiment, tmp_path: Path) -> Path:
    """A run of six rounds after its fourth, in which client 7's reply was dropped."""
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "experiment.yaml").write_text(as_yaml(experiment))
    events = Events(directory / "events.jsonl")
    events("run-start", directory=str(directory), name="tiny")
    events("stage-end", stage="base", scores={}, seconds=0.0)
    events("stage-start", stage="attacked")
    for record in federation(6, attacked=True)[:4]:
        _round(events, record.model_dump(mode="json"))
    return directory


def _round(events: Events, record: dict[str, Any]) -> None:
    events("round-start", federation="main", round=record["round"], rounds=6)
    for client in record["clients"]:
        client["tokens"] = 100.0
    events("round-end", federation="main", rounds=6, record={**record, "seconds": 2.0})


def _end(run: Path, status: str, reason: str = "") -> None:
    found = stages()[:3] if status == "completed" else []
    summary = Summary(name="tiny", experiment="", status=status, reason=reason, stages=found)
    Store(run).write_summary(summary)


def test_once_says_where_the_run_is(run: Path, capsys: Capture) -> None:
    with flock(run / ".lock", lambda _: RunError("")):
        assert main(["watch", str(run), "--once"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for told in (
        "state running",
        "stage attacked",
        "finished base",
        "round 4 of 6",
        "last round 4: 10 asked, 9 accepted, 1 dropped, 0 missing",
        "probe refusal",
        "throughput 500 tokens a second, 2.0 s a round",
        "time left 4.0 s of this federation",
    ):
        assert told in out


def test_once_says_that_an_alarm_stopped_the_federation(run: Path, capsys: Capture) -> None:
    Events(run / "events.jsonl")("early-stop", "The federation stopped early.", federation="main")
    with flock(run / ".lock", lambda _: RunError("")):
        assert main(["watch", str(run), "--once"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "round 4 of 6 early stop The federation stopped early." in out
    assert "time left" not in out


def test_once_as_json_has_the_same(run: Path, capsys: Capture) -> None:
    with flock(run / ".lock", lambda _: RunError("")):
        assert main(["watch", str(run), "--once", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["stage"], found["round"], found["rounds"]) == (
        "running", "attacked", 4, 6,
    )  # fmt: skip
    last = found["last_round"]
    assert (last["accepted"], last["dropped"], last["missing"]) == (9, 1, 0)
    assert (last["tokens_per_second"], found["seconds_left"]) == (500.0, 4.0)
    assert 0 < last["probe"]["refusal"]["value"] < 1


def test_it_follows_until_the_run_ends(run: Path, capsys: Capture) -> None:
    held = flock(run / ".lock", lambda _: RunError(""))

    def go_on() -> None:
        time.sleep(0.1)
        events = Events(run / "events.jsonl")
        for record in federation(6, attacked=True)[4:]:
            _round(events, record.model_dump(mode="json"))
        events("run-end", status="completed", seconds=9.0)
        _end(run, "completed")
        held.close()

    working = threading.Thread(target=go_on)
    working.start()
    assert main(["watch", str(run)]) == 0
    working.join()
    out = capsys.readouterr().out
    assert "client 7 dropped: not finite" in out
    assert "6/6" in out
    assert "Refusal" in out
    assert out.rstrip().endswith("is completed.")


def test_events_are_told_as_json_lines_and_the_end_last(run: Path, capsys: Capture) -> None:
    _end(run, "completed")
    assert main(["watch", str(run), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines][:3] == ["run-start", "stage-end", "stage-start"]
    assert lines[-1] == {"kind": "watch-end", "state": "completed", "reason": ""}


@pytest.mark.parametrize(("status", "reason"), [("failed", "no room"), ("interrupted", "")])
def test_a_run_that_did_not_end_well_is_exit_code_one(
    run: Path, capsys: Capture, status: str, reason: str
) -> None:
    _end(run, status, reason)
    assert main(["watch", str(run)]) == 1
    assert f"is {status}" + (f": {reason}" if reason else ".") in capsys.readouterr().out


def test_a_run_that_was_killed_is_stopped_after_silence(
    run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENCE_SECONDS", 0.2)
    assert main(["watch", str(run)]) == 1
    assert capsys.readouterr().out.rstrip().endswith("is stopped.")


def test_a_run_on_another_machine_goes_on_while_it_is_heard(run: Path, capsys: Capture) -> None:
    """Nobody holds its lock here, and its last event is fresh."""
    assert main(["watch", str(run), "--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "running"


def test_a_server_at_work_is_a_run_that_goes_on(
    run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ServerApp may be between two starts, silent and without the run's own lock."""
    monkeypatch.setattr(watch, "SILENCE_SECONDS", 0.0)
    (run / ".server").mkdir()
    with flock(run / ".server" / "lock", lambda _: RunError("")):
        assert main(["watch", str(run), "--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "running"


def test_text_of_others_moves_no_cursor(run: Path, capsys: Capture) -> None:
    Events(run / "events.jsonl")("note", "[red]\x1b[2Jnote\u202e")
    _end(run, "completed")
    main(["watch", str(run)])
    out = capsys.readouterr().out
    assert "[red][2Jnote" in out
    assert "\x1b[2J" not in out


def test_what_is_no_run_is_a_sentence(tmp_path: Path, capsys: Capture) -> None:
    assert main(["watch", str(tmp_path / "nothing")]) == 1
    assert "is no run directory: it does not exist" in capsys.readouterr().err

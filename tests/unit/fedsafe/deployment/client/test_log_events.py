"""What a node tells, in its operator's words."""

import json
from pathlib import Path
from typing import Any

import pytest

from clients.worker.status_lines import MARK
from fedsafe.deployment.client.log_events import LogEvents, LogFollower


def line(kind: str, **data: Any) -> str:
    return MARK + json.dumps({"kind": kind, **data})


CONNECTED = line("connected", message="connected to fl.example.org:8443")
BEGUN = line("job-start", client=3, federation="control", round=2)
DONE = line("job-end", client=3, federation="control", round=2, seconds=0.45)
FAILED = line("job-failed", reason="This client's base model is not the server's.")


def heard(*lines: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what an operator is told of a log's lines."""
    told: list[tuple[str, str, dict[str, Any]]] = []
    listener = LogEvents("node0", lambda kind, message, **data: told.append((kind, message, data)))
    for one in lines:
        listener.hear(one)
    return told


def test_what_the_node_says_is_passed_on_with_its_name() -> None:
    assert heard(CONNECTED) == [
        ("connected", "connected to fl.example.org:8443", {"name": "node0"})
    ]


def test_round_is_told_with_its_seconds() -> None:
    begun, done = heard(BEGUN, DONE)
    assert begun[:2] == ("job-start", "control round 2 begun")
    assert done[:2] == ("job-end", "control round 2 done in 0.5 s")
    assert done[2]["round"] == 2
    assert done[2]["name"] == "node0"


def test_failure_is_told_with_its_round_and_its_sentence() -> None:
    failed = heard(BEGUN, FAILED)[1]
    assert failed[:2] == (
        "job-failed",
        "control round 2 failed: This client's base model is not the server's.",
    )
    assert failed[2]["round"] == 2


def test_failure_before_the_work_is_told() -> None:
    ((_, message, _),) = heard(FAILED)
    assert message.startswith("a message of the server failed: This client's base model")


def test_failure_after_the_work_is_not_the_rounds() -> None:
    assert heard(BEGUN, DONE, FAILED)[2][1].startswith("a message of the server failed")


def test_a_node_cannot_be_told_of_under_anothers_name() -> None:
    ((_, _, data),) = heard(line("note", message="hm", name="node7"))
    assert data["name"] == "node0"


def test_a_farewell_holds_until_there_is_work_again() -> None:
    listener = LogEvents("node0", lambda *_, **__: None)
    seen = []
    for one in (CONNECTED, line("farewell", message="over"), CONNECTED, BEGUN):
        listener.hear(one)
        seen.append(listener.dismissed)
    assert seen == [False, True, True, False]


@pytest.mark.parametrize(
    "text", [f"{MARK}{{broken", f"{MARK}[]", f'{MARK}{{"kind": 3}}', "", "x" * 9999, "Traceback"]
)
def test_other_lines_are_nothing(text: str) -> None:
    assert heard(text) == []


def test_follower_yields_whole_new_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier life\n")
    follower = LogFollower(log)
    with log.open("a") as file:
        file.write("INFO : one\ntw")
    first = list(follower.lines())
    with log.open("a") as file:
        file.write("o\n")
    assert (first, list(follower.lines())) == (["INFO : one"], ["two"])

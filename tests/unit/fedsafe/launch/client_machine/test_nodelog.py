"""What a SuperNode's log says, and why it ended, in its operator's words."""

from pathlib import Path
from typing import Any

import pytest

from fedsafe.launch.client_machine.identity import Address, Identity
from fedsafe.launch.client_machine.nodelog import Follower, Listener
from fedsafe.launch.client_machine.probe import Seen
from fedsafe.launch.client_machine.supernode import Node, why_ended

SERVER = Address("fl.example.org", 8443)
NODE = Node(
    SERVER, Path("ca.crt"), Identity("node0", "0123456789abcdef"), Path("site.json"), Path()
)
CONNECTED = "INFO :      SuperNode ID: 9618705536107405266"
AWAY = "WARNING :   Connection attempt failed, retrying in 0.57 seconds"
BACK = "INFO :      Connection successful after 3.20 seconds and 4 tries."
BEGUN = 'fedsafe-told {"kind": "job-start", "client": 3, "federation": "control", "round": 2}'
DONE = BEGUN.replace("job-start", "job-end").replace("}", ', "seconds": 0.45}')
SENDING = "INFO :      Sending: train message (ID: 330b)"
SENT = "INFO :      Sent successfully"
RAISED = (
    "ERROR :     ClientApp raised an exception",
    "Traceback (most recent call last):",
    '  File "run_clientapp.py", line 195, in run_clientapp',
    "fedsafe.errors.ModelError: This client's base model is not the server's.",
)


def heard(*lines: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what an operator is told of a log's lines."""
    told: list[tuple[str, str, dict[str, Any]]] = []
    listener = Listener(
        "node0", SERVER, lambda kind, message, **data: told.append((kind, message, data))
    )
    for line in lines:
        listener.hear(line)
    return told


def test_connection_is_told() -> None:
    assert heard(CONNECTED)[0][:2] == ("connected", "connected to fl.example.org:8443")


def test_loss_and_return_of_the_server_are_told_once() -> None:
    kinds = [kind for kind, _, _ in heard(CONNECTED, AWAY, AWAY, BACK, BACK, AWAY)]
    assert kinds == ["connected", "away", "connected", "away"]


def test_round_is_told_with_its_seconds() -> None:
    begun, done = heard(BEGUN, DONE, SENDING, SENT)
    assert begun[:2] == ("job-start", "control round 2 begun")
    assert done[:2] == ("job-end", "control round 2 done in 0.5 s")
    assert done[2]["round"] == 2
    assert done[2]["name"] == "node0"


def test_failure_is_told_with_its_sentence() -> None:
    failed = heard(BEGUN, *RAISED, SENDING, SENT)[1]
    assert failed[:2] == (
        "job-failed",
        "control round 2 failed: This client's base model is not the server's.",
    )


def test_failure_before_the_work_is_told() -> None:
    ((kind, message, _),) = heard(*RAISED, SENDING, SENT)
    assert kind == "job-failed"
    assert message.endswith("This client's base model is not the server's.")


def test_a_clientapp_that_died_is_told() -> None:
    assert heard(BEGUN, SENDING)[1][1] == "control round 2 failed: its ClientApp process died"


def test_an_error_of_another_part_is_no_failure_of_the_round() -> None:
    kinds = [kind for kind, _, _ in heard(BEGUN, DONE, "httpx.ConnectError: refused", SENDING)]
    assert kinds == ["job-start", "job-end"]


def test_a_reply_that_was_lost_is_told() -> None:
    lost = heard("ERROR :     Failed to send message 330b: Server error '500'")[0]
    assert lost[:2] == ("lost", "its reply did not reach the server: Server error '500'")


@pytest.mark.parametrize(
    "line", ["fedsafe-told {broken", "fedsafe-told []", 'fedsafe-told {"kind": 3}', "", "x" * 9999]
)
def test_other_lines_are_nothing(line: str) -> None:
    assert heard(line) == []


def test_follower_yields_whole_new_lines_without_color(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier life\n")
    follower = Follower(log)
    with log.open("a") as file:
        file.write("\x1b[92mINFO \x1b[0m: one\ntw")
    first = list(follower.lines())
    with log.open("a") as file:
        file.write("o\n")
    assert (first, list(follower.lines())) == (["INFO : one"], ["two"])
    assert follower.recent == ["INFO : one", "two"]


REFUSED = (
    "ERROR :     Exit Code: 305\nFailed to initialize the connection to the SuperLink.\n"
    "[code: 2004] Failed to activate SuperNode.\n\nFor more information, visit: <https://x>"
)
GRACEFUL = "INFO :      SuperNode terminated gracefully."


@pytest.mark.parametrize(
    ("said", "seen", "ago", "why"),
    [
        (REFUSED, Seen(True), None, "does not let in node0 (0123456789abcdef): its key is not on"),
        (REFUSED, Seen(True), 30.0, "lets the key in again within a minute"),
        (REFUSED, Seen(True), 3600.0, "its key is not on the allow list"),
        ("Exit Code: 606", Seen(True), None, "another version of Flower"),
        (GRACEFUL, Seen(True, skew=90.0), 5.0, "90 s ahead of the server's"),
        (GRACEFUL, Seen(True, skew=0.0), 5.0, "no longer knows this session"),
        ("SSL/TLS handshake error", Seen(True, "The wrong certificate."), None, "The wrong"),
        (f"MemoryError\n{AWAY}\n", Seen(), None, "ended: exit code 1. The end of its log: 'Mem"),
        ("", Seen(), None, "it said nothing"),
    ],
)
def test_end_is_explained(said: str, seen: Seen, ago: float | None, why: str) -> None:
    assert why in why_ended(said, "exit code 1", NODE, seen, ago)

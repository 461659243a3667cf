"""The crash journal: whose reply killed the server is named and left out."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedsafe.errors import RunError
from fedsafe.runs.events import Events
from server.transport.reply_journal import MARKER, MOST_KILLS, ReplyJournal


def _journal(directory: Path, number: int = 1) -> tuple[ReplyJournal, list[str]]:
    heard: list[str] = []
    made = ReplyJournal(directory, Events(listen=lambda event: heard.append(event.message)))
    made.begin_round("main", number)
    return made, heard


def _killed(directory: Path, client: int, number: int = 1) -> None:
    """Let a server process be killed while it handles a client's reply."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from fedsafe.runs.events import Events\n"
        "from server.transport.reply_journal import ReplyJournal\n"
        "journal = ReplyJournal(Path(sys.argv[1]), Events())\n"
        "journal.begin_round('main', int(sys.argv[3]))\n"
        "journal.begin(int(sys.argv[2]), 'message')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory), str(client), str(number)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


def test_nobody_is_left_out_of_a_run_that_was_never_killed(tmp_path: Path) -> None:
    journal, heard = _journal(tmp_path)
    journal.begin(2, "message")
    journal.end()
    again, _ = _journal(tmp_path)
    assert (again.left_out(range(4)), heard) == ({}, [])


def test_client_whose_reply_killed_the_server_is_left_out_of_the_round(tmp_path: Path) -> None:
    _killed(tmp_path, 2)
    journal, heard = _journal(tmp_path)
    reason = "the server was killed while it handled this client's reply to this round"
    assert journal.left_out(range(4)) == {2: reason}
    assert "client 2's reply to round 1 of the main federation (1 of 3 times)" in heard[0]


def test_it_takes_part_in_the_next_round(tmp_path: Path) -> None:
    _killed(tmp_path, 2)
    assert _journal(tmp_path, 2)[0].left_out(range(4)) == {}


def test_kill_is_remembered_by_later_restarts(tmp_path: Path) -> None:
    _killed(tmp_path, 2)
    _journal(tmp_path)
    journal, heard = _journal(tmp_path)
    assert (list(journal.left_out(range(4))), heard) == ([2], [])


def test_client_that_killed_the_server_several_times_is_left_out_of_the_run(
    tmp_path: Path,
) -> None:
    for number in range(1, MOST_KILLS + 1):
        _killed(tmp_path, 2, number)
    journal, heard = _journal(tmp_path, 9)
    assert journal.left_out(range(4)) == {
        2: "the server was killed 3 times while it handled this client's reply"
    }
    assert "Client 2 is left out of the run." in heard[0]


@pytest.mark.parametrize("text", ["", "{", "null", '{"client": "x"}', "\x00\xff"])
def test_half_a_marker_names_nobody(text: str, tmp_path: Path) -> None:
    """It is written before the reply is touched."""
    (tmp_path / MARKER).write_text(text)
    journal, heard = _journal(tmp_path)
    assert (journal.left_out(range(4)), heard, (tmp_path / MARKER).exists()) == ({}, [], False)


@pytest.mark.parametrize("line", ["{", json.dumps({"client": "x"}), "7"])
def test_record_that_cannot_be_read_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "server-kills.jsonl").write_text(line + "\n")
    with pytest.raises(RunError, match=r"server-kills\.jsonl cannot be read"):
        _journal(tmp_path)

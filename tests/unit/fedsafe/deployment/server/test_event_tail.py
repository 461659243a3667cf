"""Events from another process: every whole line once, and nothing of before."""

from pathlib import Path

import pytest

from fedsafe.deployment.server.event_tail import EventTail
from fedsafe.runs.events import Event, Events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def heard() -> list[Event]:
    return []


def test_events_arrive_as_they_were_sent(path: Path, heard: list[Event]) -> None:
    follower = EventTail(path, heard.append)
    Events(path)("round-start", "now", round=2, rounds=3)
    follower.drain()
    follower.drain()
    (event,) = heard
    assert (event.kind, event.message, event.data) == (
        "round-start", "now", {"round": 2, "rounds": 3},
    )  # fmt: skip
    assert event.time > 1e9


def test_what_was_there_before_is_not_told_again(path: Path, heard: list[Event]) -> None:
    Events(path)("note", "old")
    follower = EventTail(path, heard.append)
    Events(path)("note", "new")
    follower.drain()
    assert [event.message for event in heard] == ["new"]


def test_half_a_line_waits_for_its_rest(path: Path, heard: list[Event]) -> None:
    follower = EventTail(path, heard.append)
    path.write_text('{"kind": "note", "mess')
    follower.drain()
    assert heard == []
    with path.open("a") as file:
        file.write('age": "whole"}\n')
    follower.drain()
    assert [event.message for event in heard] == ["whole"]


@pytest.mark.parametrize("line", ["", "not json", "[]", "{}", "3"])
def test_a_line_that_is_no_event_is_passed_over(path: Path, heard: list[Event], line: str) -> None:
    follower = EventTail(path, heard.append)
    path.write_text(f'{line}\n{{"kind": "note"}}\n')
    follower.drain()
    assert [event.kind for event in heard] == ["note"]


def test_rounds_and_stages_are_progress(path: Path) -> None:
    follower = EventTail(path, None)
    for kind in ("run-start", "round-start", "round-end", "stage-end", "note"):
        Events(path)(kind)
    follower.drain()
    assert follower.progress == 2


def test_a_note_of_the_operators_is_kept_with_the_run(path: Path, heard: list[Event]) -> None:
    (path.parent / "experiment.yaml").write_text("")
    EventTail(path, heard.append).tell("started again")
    assert [event.message for event in heard] == ["started again"]
    assert "started again" in path.read_text()


def test_a_note_before_there_is_a_run_leaves_its_directory_empty(
    path: Path, heard: list[Event]
) -> None:
    EventTail(path, heard.append).tell("starting")
    assert [event.message for event in heard] == ["starting"]
    assert not path.exists()


def test_a_follower_may_begin_with_what_is_there(path: Path, heard: list[Event]) -> None:
    Events(path)("note", "old")
    EventTail(path, heard.append, whole=True).drain()
    assert [event.message for event in heard] == ["old"]


def test_a_run_in_the_place_of_another_is_told_from_its_start(
    path: Path, heard: list[Event]
) -> None:
    Events(path)("note", "a long message of the first run")
    follower = EventTail(path, heard.append)
    path.unlink()
    Events(path)("note", "second")
    follower.drain()
    assert [event.message for event in heard] == ["second"]

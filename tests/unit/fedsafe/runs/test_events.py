"""Events: on disk, and heard by whoever listens."""

from pathlib import Path

from fedsafe.runs.events import TRANSIENT, Event, Events
from fedsafe.runs.files import read_lines


def test_event_is_a_line_on_disk(tmp_path: Path) -> None:
    Events(tmp_path / "e.jsonl")("round-start", "hello", round=3)
    (line,) = read_lines(tmp_path / "e.jsonl")
    assert (line["kind"], line["message"], line["round"]) == ("round-start", "hello", 3)


def test_transient_event_is_heard_but_not_written(tmp_path: Path) -> None:
    heard: list[Event] = []
    tell = Events(tmp_path / "e.jsonl", heard.append)
    for kind in TRANSIENT:
        tell(kind, step=1)
    assert (len(heard), read_lines(tmp_path / "e.jsonl")) == (len(TRANSIENT), [])


def test_event_with_a_value_that_is_no_json_is_written(tmp_path: Path) -> None:
    Events(tmp_path / "e.jsonl")("note", where=tmp_path)
    assert read_lines(tmp_path / "e.jsonl")[0]["where"] == str(tmp_path)


def test_events_without_a_listener_or_file_do_nothing() -> None:
    Events()("note", "to nobody")

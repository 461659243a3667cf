"""How far a run is: first said early, then after every half minute of silence."""

import time
from pathlib import Path
from typing import Any

import pytest

from fedsafe.runs import progress
from fedsafe.runs.events import Event, Events
from fedsafe.runs.files import read_lines
from fedsafe.runs.progress import Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def play(clock: Clock, seconds: float, each: float = 1.0, total: int = 1000) -> list[Any]:
    """Evaluate at two prompts a second, and return (second, numbers) of each line."""
    found, one = [], Progress(clock)
    one.see("stage-start", {"stage": "attacked"})
    begun = clock.now
    while clock.now - begun < seconds:
        clock.now += each
        one.see("evaluate", {"done": round(2 * (clock.now - begun)), "total": total})
        if numbers := one.due():
            found.append((clock.now - begun, numbers))
    return found


def test_first_estimate_is_early_and_the_next_every_half_minute(clock: Clock) -> None:
    assert [second for second, _ in play(clock, 100)] == [5, 35, 65, 95]


def test_line_has_done_total_rate_and_time_left(clock: Clock) -> None:
    (_, numbers), *_ = play(clock, 10)
    assert numbers == {
        "stage": "attacked", "seconds": 5.0, "activity": "evaluating", "done": 10, "total": 1000,
        "rate": 2.0, "left": 495.0,
    }  # fmt: skip


def test_time_left_goes_down_while_nothing_comes(clock: Clock) -> None:
    one = Progress(clock)
    clock.now += 10
    one.see("train", {"step": 1, "steps": 3})
    clock.now += 31
    numbers = one.due()
    assert numbers is not None
    assert (numbers["rate"], numbers["left"]) == (0.1, 0.0)


def test_silence_before_anything_is_told(clock: Clock) -> None:
    one = Progress(clock)
    clock.now += 29
    assert one.due() is None
    clock.now += 2
    assert one.due() == {"stage": "loading", "seconds": 31.0}


def test_round_is_named_while_it_lasts(clock: Clock) -> None:
    one = Progress(clock)
    one.see("stage-start", {"stage": "attacked"})
    one.see("round-start", {"round": 3, "rounds": 8})
    clock.now += 6
    one.see("client", {"done": 1, "total": 10})
    numbers = one.due()
    assert numbers is not None
    assert (numbers["round"], numbers["rounds"], numbers["activity"]) == (3, 8, "clients")
    one.see("round-end", {})
    clock.now += 31
    assert one.due() == {"stage": "attacked", "seconds": 31.0}


def test_lines_of_rounds_are_not_doubled(clock: Clock) -> None:
    one, lines = Progress(clock), 0
    for number in range(10):
        one.see("round-start", {"round": number, "rounds": 10})
        for done in (1, 2):
            clock.now += 6
            one.see("client", {"done": done, "total": 3})
            lines += one.due() is not None
        one.see("round-end", {})
    assert lines == 1


def test_progress_is_heard_and_written_while_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.1)
    heard: list[Event] = []
    events = Events(tmp_path / "events.jsonl", heard.append)
    with events.ticking(0.02):
        events("stage-start", stage="base")
        events("evaluate", done=1, total=4)
        time.sleep(0.5)
    told = [event.data for event in heard if event.kind == "progress"]
    written = [row for row in read_lines(tmp_path / "events.jsonl") if row["kind"] == "progress"]
    assert len(told) == len(written) >= 2
    assert told[0].items() <= written[0].items()
    assert (told[0]["stage"], told[0]["done"], told[0]["total"]) == ("base", 1, 4)


def test_ticking_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    heard: list[Event] = []
    events = Events(None, heard.append)
    with events.ticking(0.01):
        pass
    count = len(heard)
    time.sleep(0.1)
    assert len(heard) == count


def test_listener_that_fails_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)

    def broken(event: Event) -> None:
        raise ValueError("I/O operation on closed file")

    with Events(None, broken).ticking(0.01):
        time.sleep(0.1)

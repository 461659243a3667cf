"""Messages out, replies in: as they come, until all are there or time is up."""

import time
import weakref
from collections.abc import Iterator

import pytest
from flwr.app import Error, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from server.transport import dispatch
from server.transport.dispatch import Dispatcher
from tests.doubles.grids import ScriptedGrid, at_once, empty_reply


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "SHORTEST_PAUSE", 0.001)


def replies(grid: Grid, messages: list[Message], seconds: float) -> Iterator[tuple[int, Message]]:
    """Send messages and yield (position, reply) until all are there or time is up."""
    post, until = Dispatcher(grid), time.monotonic() + seconds
    post.send(dict(enumerate(messages)), seconds)
    while post.under_way and time.monotonic() < until:
        yield from post.take()
        if post.under_way:
            post.pause()


def _messages(*nodes: int) -> list[Message]:
    return [Message(RecordDict(), node, MessageType.TRAIN) for node in nodes]


def test_every_reply_comes_with_the_position_of_its_message() -> None:
    grid = ScriptedGrid([5, 6, 7], empty_reply, at_once)
    found = {p: m.metadata.src_node_id for p, m in replies(grid, _messages(7, 5, 6), 5)}
    assert found == {0: 7, 1: 5, 2: 6}


def test_replies_come_as_they_are_ready() -> None:
    grid = ScriptedGrid([5, 6, 7], empty_reply, {5: 3, 6: 1, 7: 2}.__getitem__)
    assert [position for position, _ in replies(grid, _messages(5, 6, 7), 5)] == [1, 2, 0]


def test_silent_node_is_waited_for_no_longer_than_the_deadline() -> None:
    grid = ScriptedGrid(
        [5, 6], lambda m: None if m.metadata.dst_node_id == 5 else empty_reply(m), at_once
    )
    begun = time.monotonic()
    found = [position for position, _ in replies(grid, _messages(5, 6), 0.2)]
    assert (found, 0.15 < time.monotonic() - begun < 2) == ([1], True)


def test_no_time_is_lost_when_all_have_answered() -> None:
    grid = ScriptedGrid([5], empty_reply, at_once)
    begun = time.monotonic()
    list(replies(grid, _messages(5), 60))
    assert time.monotonic() - begun < 2


def test_late_reply_is_not_taken_in_the_next_round() -> None:
    grid = ScriptedGrid([5], empty_reply, {5: 10**6}.__getitem__)
    assert list(replies(grid, _messages(5), 0.05)) == []
    for waiting in grid._waiting.values():
        waiting[0] = 1
    second = _messages(5)
    grid._looks = at_once
    ((_, reply),) = replies(grid, second, 5)
    assert reply.metadata.reply_to_message_id == second[0].metadata.message_id


def test_error_of_an_unreachable_node_is_matched_by_its_message() -> None:
    def unreachable(message: Message) -> Message:
        reply = Message(Error(5, "unavailable"), reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = 1
        return reply

    grid = ScriptedGrid([5, 6], unreachable, {5: 2, 6: 1}.__getitem__)
    found = [(p, m.has_error()) for p, m in replies(grid, _messages(5, 6), 5)]
    assert found == [(1, True), (0, True)]


def test_reply_to_a_message_that_was_never_sent_is_passed_over() -> None:
    def confused(message: Message) -> Message:
        reply = empty_reply(message)
        reply.metadata.__dict__["_reply_to_message_id"] = "another"
        return reply

    grid = ScriptedGrid([5], confused, at_once)
    assert list(replies(grid, _messages(5), 0.05)) == []


def test_second_reply_to_a_message_is_passed_over() -> None:
    class Twice(ScriptedGrid):
        """Hand every reply out twice."""

        def pull_messages(self, message_ids):  # type: ignore[no-untyped-def]
            """Return each reply two times."""
            return [m for m in super().pull_messages(message_ids) for _ in range(2)]

    grid = Twice([5, 6], empty_reply, {5: 1, 6: 2}.__getitem__)
    assert [position for position, _ in replies(grid, _messages(5, 6), 5)] == [0, 1]


@pytest.mark.parametrize("short", [False, True])
def test_message_that_could_not_be_sent_is_not_waited_for(short: bool) -> None:
    class Lossy(ScriptedGrid):
        """Fail to send to node 5, as Flower's grids tell it: by \"\", or by a shorter list."""

        def push_messages(self, messages):  # type: ignore[no-untyped-def]
            """Return no id for it."""
            kept = list(messages)
            ids = list(super().push_messages(kept))
            lost = [m.metadata.dst_node_id == 5 for m in kept]
            told = zip(ids, lost, strict=True)
            return [i for i, gone in told if not gone] if short else ["", *ids[1:]]

    begun = time.monotonic()
    found = [p for p, _ in replies(Lossy([5, 6], empty_reply, at_once), _messages(5, 6), 30)]
    assert (found, time.monotonic() - begun < 5) == ([1], True)


def test_message_lives_as_long_as_it_is_waited_for() -> None:
    grid = ScriptedGrid([5], empty_reply, at_once)
    list(replies(grid, _messages(5), 12.5))
    assert grid.pushed[0].metadata.ttl == 12.5


def test_no_message_needs_no_reply() -> None:
    assert list(replies(ScriptedGrid([], empty_reply, at_once), [], 60)) == []


def test_reply_of_another_node_than_was_asked_is_passed_over() -> None:
    def forged(message: Message) -> Message:
        reply = empty_reply(message)
        reply.metadata.__dict__["_src_node_id"] = 6
        return reply

    assert list(replies(ScriptedGrid([5], forged, at_once), _messages(5), 0.05)) == []


def test_content_that_calls_itself_the_superlinks_is_passed_over() -> None:
    def forged(message: Message) -> Message:
        reply = empty_reply(message)
        reply.metadata.__dict__["_src_node_id"] = 1
        return reply

    assert list(replies(ScriptedGrid([5], forged, at_once), _messages(5), 0.05)) == []


def test_one_reply_is_in_memory_at_a_time() -> None:
    alive: list[weakref.ref[Message]] = []

    class Lazy(ScriptedGrid):
        """Make replies when they are pulled, as a network does."""

        def pull_messages(self, message_ids):  # type: ignore[no-untyped-def]
            """Make the replies now."""
            assert not any(ref() for ref in alive)
            made = [empty_reply(m) for m in self.pushed if m.metadata.message_id in message_ids]
            alive.extend(weakref.ref(m) for m in made)
            return made

    grid = Lazy([5, 6, 7], lambda m: None, at_once)
    taken = 0
    for _, reply in replies(grid, _messages(5, 6, 7), 5):
        taken += reply.has_content()
        del reply, _
    assert taken == 3


def test_slow_grid_is_left_in_peace_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    class Slow(ScriptedGrid):
        """Take a while to say that nothing is there."""

        def pull_messages(self, message_ids):  # type: ignore[no-untyped-def]
            """Return nothing."""
            begun = time.perf_counter()
            while time.perf_counter() - begun < 0.02:
                pass
            return []

    post = Dispatcher(Slow([5], lambda m: None, at_once))
    post.send({0: _messages(5)[0]}, 60)
    monkeypatch.setattr(dispatch.time, "sleep", slept.append)
    assert list(post.take()) == []
    post.pause()
    assert slept[0] >= 0.08


def test_time_that_replies_take_to_use_is_no_reason_to_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    post = Dispatcher(ScriptedGrid([5, 6], empty_reply, {5: 1, 6: 99}.__getitem__))
    post.send(dict(enumerate(_messages(5, 6))), 60)
    for _ in post.take():
        time.sleep(0.3)  # as screening a large reply does
    monkeypatch.setattr(dispatch.time, "sleep", slept.append)
    post.pause()
    assert slept[0] < 0.2

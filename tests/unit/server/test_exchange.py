"""Messages out, replies in: as they come, until all are there or time is up."""

import time

import pytest
from flwr.app import Error, Message, MessageType, RecordDict

from server import exchange
from server.exchange import replies
from tests.doubles.grids import ScriptedGrid, at_once, empty_reply


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SHORTEST_PAUSE", 0.001)


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


def test_message_that_could_not_be_sent_is_not_waited_for() -> None:
    class Lossy(ScriptedGrid):
        """Fail to send to node 5, as Flower's grid tells it."""

        def push_messages(self, messages):  # type: ignore[no-untyped-def]
            """Return no id for it."""
            kept = list(messages)
            ids = list(super().push_messages(kept))
            return [
                "" if m.metadata.dst_node_id == 5 else i for m, i in zip(kept, ids, strict=True)
            ]

    begun = time.monotonic()
    found = [p for p, _ in replies(Lossy([5, 6], empty_reply, at_once), _messages(5, 6), 30)]
    assert (found, time.monotonic() - begun < 5) == ([1], True)


def test_message_lives_as_long_as_it_is_waited_for() -> None:
    grid = ScriptedGrid([5], empty_reply, at_once)
    list(replies(grid, _messages(5), 12.5))
    assert grid.pushed[0].metadata.ttl == 12.5


def test_no_message_needs_no_reply() -> None:
    assert list(replies(ScriptedGrid([], empty_reply, at_once), [], 60)) == []

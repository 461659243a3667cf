"""The clients of a deployment are told when the rounds are over; nobody waits for them."""

import time

import pytest

from server.transport import completion_notice
from server.transport.completion_notice import GATHER_SECONDS, CompletionNotice
from tests.doubles.grids import ScriptedGrid, at_once, empty_reply

pytestmark = pytest.mark.usefixtures("flower_task")


class Roll:
    """A roll on which clients are, or come when they are waited for."""

    def __init__(self, now: dict[int, int], later: dict[int, int] | None = None) -> None:
        self.members: object | None = object()
        self.nodes, self._later = now, later or {}
        self.waited = 0.0

    def refresh(self) -> None:
        pass

    def wait(self, seconds: float) -> None:
        self.waited += seconds
        self.nodes = self._later


def told(registry: Roll) -> list[tuple[int, str]]:
    """Return whom a server tells what, where nobody ever answers."""
    grid = ScriptedGrid([10, 11], lambda _: None, at_once)
    saying = CompletionNotice(grid)
    for _ in range(2):  # the second time says nothing
        saying.send(registry)  # type: ignore[arg-type]
    return [(one.metadata.dst_node_id, one.metadata.message_type) for one in grid.pushed]


def test_every_client_that_is_there_is_told_and_none_is_waited_for() -> None:
    registry = Roll({0: 10, 1: 11})
    assert told(registry) == [(10, "query.farewell"), (11, "query.farewell")]
    assert registry.waited == 0


def test_a_server_that_was_started_again_waits_a_little_for_its_clients() -> None:
    registry = Roll({}, later={1: 11})
    assert told(registry) == [(11, "query.farewell")]
    assert registry.waited == GATHER_SECONDS


def test_where_clients_live_in_the_servers_process_nobody_is_told() -> None:
    registry = Roll({0: 10})
    registry.members = None
    assert told(registry) == []


@pytest.mark.parametrize(("looks", "seconds"), [(1, 0.0), (10**6, 0.3)])
def test_the_run_ends_when_all_have_heard_or_time_is_up(
    looks: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion_notice, "END_SECONDS", 0.3)
    saying = CompletionNotice(ScriptedGrid([10], empty_reply, lambda _: looks))
    saying.send(Roll({0: 10}))  # type: ignore[arg-type]
    begun = time.monotonic()
    saying.finish()
    assert seconds <= time.monotonic() - begun < seconds + 2


def test_a_run_that_told_nobody_ends_at_once() -> None:
    CompletionNotice(ScriptedGrid([], empty_reply, at_once)).finish()

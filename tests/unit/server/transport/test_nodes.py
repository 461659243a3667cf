"""The nodes of a grid, and patience with a SuperLink that is away for a while."""

from collections.abc import Callable

import httpx
import pytest

from fedsafe.errors import RunError
from server.transport import nodes
from server.transport.nodes import Node, deployed, online, patiently
from tests.doubles.grids import HttpGrid, ScriptedGrid, at_once, empty_reply


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(nodes, "OUTAGE_SECONDS", 0.1)


def _failing(times: int, error: Exception) -> Callable[[], str]:
    left = [error] * times

    def call() -> str:
        if left:
            raise left.pop()
        return "done"

    return call


def test_nodes_of_a_deployment_have_keys_and_sessions() -> None:
    grid = HttpGrid(empty_reply)
    grid.start(7, b"k")
    assert online(grid) == {7: Node(7, b"k", "1.0")}


def test_nodes_of_a_simulation_have_none() -> None:
    assert online(ScriptedGrid([7], empty_reply, at_once)) == {7: Node(7)}


def test_only_flowers_network_grid_is_a_deployment() -> None:
    found = [deployed(HttpGrid(empty_reply)), deployed(ScriptedGrid([], empty_reply, at_once))]
    assert found == [True, False]


def test_deployment_is_told_by_its_kind_and_not_by_its_name() -> None:
    class AnyName(HttpGrid):
        pass

    class Local(ScriptedGrid):
        pass

    Local.__name__ = "HttpGrid"
    found = [deployed(AnyName(empty_reply)), deployed(Local([], empty_reply, at_once))]
    assert found == [True, False]


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.HTTPStatusError(
            "500", request=httpx.Request("POST", "http://a"), response=httpx.Response(500)
        ),
    ],
)
def test_call_is_tried_again_while_the_superlink_is_away(error: Exception) -> None:
    assert patiently(_failing(3, error)) == "done"


def test_superlink_that_stays_away_is_a_sentence() -> None:
    with pytest.raises(RunError, match=r"The SuperLink has not done its work for 0\.1 s"):
        patiently(_failing(10**6, httpx.ReadError("reset")))


def test_other_errors_are_not_waited_out() -> None:
    with pytest.raises(KeyError):
        patiently(_failing(1, KeyError("bug")))

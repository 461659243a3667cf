"""Which node stands for which client: asked once, and nobody takes another's number."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, RecordDict

from fedsafe.runs.events import Event, Events
from server import exchange, rollcall
from server.rollcall import RollCall
from tests.doubles.grids import ScriptedGrid, at_once


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(rollcall, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(rollcall, "PAUSE", 0.01)


def _says(answer: Any) -> Callable[[Message], Message]:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    record = ConfigRecord({"hello": text})
    return lambda message: Message(RecordDict({"answer": record}), reply_to=message)


def _grid(answers: Mapping[int, Any]) -> ScriptedGrid:
    """Return a grid whose nodes say these things, or do what a function does."""

    def answer(message: Message) -> Message | None:
        said = answers[message.metadata.dst_node_id]
        found: Message | None = said(message) if callable(said) else _says(said)(message)
        return found

    return ScriptedGrid(answers, answer, at_once)


def _call(grid: ScriptedGrid, clients: int) -> tuple[RollCall, list[str]]:
    heard: list[Event] = []
    roll = RollCall(grid, clients, Events(listen=heard.append))
    roll.wait(0.3)
    return roll, [event.message for event in heard]


def test_nodes_are_known_by_their_numbers() -> None:
    roll, _ = _call(_grid({11: {"partition": 1}, 12: {"partition": 0}}), 2)
    assert roll.nodes == {0: 12, 1: 11}


def test_each_node_is_asked_once() -> None:
    grid = _grid({11: {"partition": 0}, 12: {"partition": 1}})
    roll, _ = _call(grid, 2)
    roll.refresh()
    assert len(grid.pushed) == 2


def test_node_that_takes_anothers_number_is_left_out() -> None:
    roll, said = _call(_grid({11: {"partition": 0}, 12: {"partition": 0}}), 1)
    assert (roll.nodes, len(said), "as another node does" in said[0]) == ({0: 11}, 1, True)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "null",
        "[]",
        "{}",
        {"partition": "many"},
        {"partition": -1},
        {"partition": None},
        {"partition": 1e999},
        {"partition": 0, "partitions": -2},
        lambda m: Message(Error(2, "boom"), reply_to=m),
        lambda m: Message(RecordDict(), reply_to=m),
        lambda m: Message(RecordDict({"answer": ArrayRecord({})}), reply_to=m),
        lambda m: Message(RecordDict({"answer": ConfigRecord({"hello": 3})}), reply_to=m),
    ],
)
def test_node_that_does_not_say_its_number_is_left_out(answer: Any) -> None:
    roll, said = _call(_grid({11: answer, 12: {"partition": 0}}), 1)
    assert (roll.nodes, ["did not say" in text for text in said]) == ({0: 12}, [True])


def test_node_beyond_the_federation_is_left_out() -> None:
    roll, said = _call(_grid({11: {"partition": 4}, 12: {"partition": 0}}), 2)
    assert (roll.nodes, "there are 2 clients" in said[0]) == ({0: 12}, True)


def test_silent_node_does_not_hold_the_others_up() -> None:
    roll, _ = _call(_grid({11: lambda m: None, 12: {"partition": 0}}), 2)
    assert roll.nodes == {0: 12}


def test_node_that_comes_later_is_asked() -> None:
    grid = _grid({11: {"partition": 0}, 12: {"partition": 1}})
    grid.online = [11]
    roll, _ = _call(grid, 2)
    grid.online = [11, 12]
    roll.refresh()
    assert roll.nodes == {0: 11, 1: 12}


def test_node_that_went_is_forgotten() -> None:
    grid = _grid({11: {"partition": 0}, 12: {"partition": 1}})
    roll, _ = _call(grid, 2)
    grid.online = [12]
    roll.refresh()
    assert roll.nodes == {1: 12}


def test_node_that_comes_back_under_another_id_is_known_again() -> None:
    grid = _grid({11: {"partition": 0}, 12: {"partition": 0}})
    grid.online = [11]
    roll, _ = _call(grid, 1)
    grid.online = [12]
    roll.refresh()
    assert roll.nodes == {0: 12}


def test_few_nodes_stand_for_many_clients() -> None:
    answers = {11: {"partition": 0, "partitions": 2}, 12: {"partition": 1, "partitions": 2}}
    roll, _ = _call(_grid(answers), 5)
    assert roll.nodes == {0: 11, 1: 12, 2: 11, 3: 12, 4: 11}


def test_node_that_claims_to_be_the_only_one_takes_nobodys_place() -> None:
    answers = {11: {"partition": 0, "partitions": 1}, 12: {"partition": 1}, 13: {"partition": 2}}
    roll, _ = _call(_grid(answers), 3)
    assert roll.nodes == {0: 11, 1: 12, 2: 13}


def test_more_nodes_than_clients_leave_the_rest_out() -> None:
    answers = {n: {"partition": n, "partitions": 4} for n in range(4)}
    roll, _ = _call(_grid(answers), 2)
    assert roll.nodes == {0: 0, 1: 1}


def test_wait_ends_when_everybody_is_there() -> None:
    import time

    begun = time.monotonic()
    RollCall(_grid({11: {"partition": 0}}), 1, Events()).wait(60)
    assert time.monotonic() - begun < 5

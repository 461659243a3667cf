"""Which node stands for which client: asked once, and nobody takes another's number."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, RecordDict

from fedsafe.experiment.schema import Experiment
from fedsafe.runs.events import Event, Events
from fedsafe.runs.store import Store
from server.transport import client_registry, dispatch, reconnections
from server.transport.client_identity import ClientIdentities
from server.transport.client_registry import ClientRegistry
from tests.doubles.grids import HttpGrid, ScriptedGrid, at_once, hello


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(dispatch, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(client_registry, "ANSWER_SECONDS", 0.2)


def _says(answer: Any) -> Callable[[Message], Message]:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return lambda message: hello(message, text)


def _grid(answers: Mapping[int, Any]) -> ScriptedGrid:
    """Return a grid whose nodes say these things, or do what a function does."""

    def answer(message: Message) -> Message | None:
        said = answers[message.metadata.dst_node_id]
        found: Message | None = said(message) if callable(said) else _says(said)(message)
        return found

    return ScriptedGrid(answers, answer, at_once)


def _call(grid: ScriptedGrid, clients: int) -> tuple[ClientRegistry, list[str]]:
    heard: list[Event] = []
    registry = ClientRegistry(grid, clients, Events(listen=heard.append))
    registry.wait(0.3)
    return registry, [event.message for event in heard]


def test_nodes_are_known_by_their_numbers() -> None:
    registry, _ = _call(_grid({11: {"partition": 1}, 12: {"partition": 0}}), 2)
    assert registry.nodes == {0: 12, 1: 11}


def test_each_node_is_asked_once() -> None:
    grid = _grid({11: {"partition": 0}, 12: {"partition": 1}})
    registry, _ = _call(grid, 2)
    registry.refresh()
    assert len(grid.pushed) == 2


def test_node_that_takes_anothers_number_is_left_out() -> None:
    registry, said = _call(_grid({11: {"partition": 0}, 12: {"partition": 0}}), 1)
    assert (registry.nodes, len(said), "as another node does" in said[0]) == ({0: 11}, 1, True)


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
    registry, said = _call(_grid({11: answer, 12: {"partition": 0}}), 1)
    assert (registry.nodes, ["did not say" in text for text in said]) == ({0: 12}, [True])


def test_node_beyond_the_federation_is_left_out() -> None:
    registry, said = _call(_grid({11: {"partition": 4}, 12: {"partition": 0}}), 2)
    assert (registry.nodes, "there are 2 clients" in said[0]) == ({0: 12}, True)


def test_silent_node_does_not_hold_the_others_up() -> None:
    registry, _ = _call(_grid({11: lambda m: None, 12: {"partition": 0}}), 2)
    assert registry.nodes == {0: 12}


def test_node_that_comes_later_is_asked() -> None:
    grid = _grid({11: {"partition": 0}, 12: {"partition": 1}})
    grid.online = [11]
    registry, _ = _call(grid, 2)
    grid.online = [11, 12]
    registry.refresh()
    assert registry.nodes == {0: 11, 1: 12}


def test_node_that_went_is_forgotten() -> None:
    grid = _grid({11: {"partition": 0}, 12: {"partition": 1}})
    registry, _ = _call(grid, 2)
    grid.online = [12]
    registry.refresh()
    assert registry.nodes == {1: 12}


def test_node_that_comes_back_under_another_id_is_known_again() -> None:
    grid = _grid({11: {"partition": 0}, 12: {"partition": 0}})
    grid.online = [11]
    registry, _ = _call(grid, 1)
    grid.online = [12]
    registry.refresh()
    assert registry.nodes == {0: 12}


def test_few_nodes_stand_for_many_clients() -> None:
    answers = {11: {"partition": 0, "partitions": 2}, 12: {"partition": 1, "partitions": 2}}
    registry, _ = _call(_grid(answers), 5)
    assert registry.nodes == {0: 11, 1: 12, 2: 11, 3: 12, 4: 11}


def test_node_that_claims_to_be_the_only_one_takes_nobodys_place() -> None:
    answers = {11: {"partition": 0, "partitions": 1}, 12: {"partition": 1}, 13: {"partition": 2}}
    registry, _ = _call(_grid(answers), 3)
    assert registry.nodes == {0: 11, 1: 12, 2: 13}


def test_more_nodes_than_clients_leave_the_rest_out() -> None:
    answers = {n: {"partition": n, "partitions": 4} for n in range(4)}
    registry, _ = _call(_grid(answers), 2)
    assert registry.nodes == {0: 0, 1: 1}


def test_wait_ends_when_everybody_is_there() -> None:
    begun = time.monotonic()
    ClientRegistry(_grid({11: {"partition": 0}}), 1, Events()).wait(60)
    assert time.monotonic() - begun < 5


def _apart(
    experiment: Experiment, directory: Path, answers: Mapping[int, Any]
) -> tuple[HttpGrid, ClientRegistry, list[str]]:
    """Return a roll call over separate machines, where these nodes are online."""

    def answer(message: Message) -> Message | None:
        said = answers[message.metadata.dst_node_id]
        found: Message | None = said(message) if callable(said) else _says(said)(message)
        return found

    grid = HttpGrid(answer)
    for node in answers:
        grid.start(node)
    heard: list[str] = []
    events = Events(listen=lambda event: heard.append(event.message))
    members = ClientIdentities(experiment, Store(directory), events)
    return grid, ClientRegistry(grid, 4, events, members), heard


def test_dead_node_does_not_hold_a_round_up(experiment: Experiment, tmp_path: Path) -> None:
    answers = {11: lambda m: None, 12: {"partition": 0}}
    _, registry, _ = _apart(experiment, tmp_path, answers)
    begun = time.monotonic()
    registry.refresh()
    assert (registry.nodes, time.monotonic() - begun < 0.15) == ({0: 12}, True)


def test_answer_that_comes_later_is_entered(experiment: Experiment, tmp_path: Path) -> None:
    grid, registry, _ = _apart(experiment, tmp_path, {11: {"partition": 0}})
    grid._looks = lambda node: 3
    known = []
    for _ in range(3):
        registry.refresh()
        known.append(dict(registry.nodes))
    assert known == [{}, {}, {0: 11}]


def test_silent_node_is_not_asked_at_every_look(experiment: Experiment, tmp_path: Path) -> None:
    grid, registry, _ = _apart(experiment, tmp_path, {11: lambda m: None})
    for _ in range(5):
        registry.refresh()
    assert len(grid.pushed) == 1


def test_silent_node_is_asked_again_later(experiment: Experiment, tmp_path: Path) -> None:
    grid, registry, _ = _apart(experiment, tmp_path, {11: lambda m: None})
    registry.refresh()
    time.sleep(0.25)
    registry.refresh()
    assert len(grid.pushed) == 2


def test_node_whose_app_crashed_is_asked_again_later(
    experiment: Experiment, tmp_path: Path
) -> None:
    said: list[Any] = [lambda m: Message(Error(8, "crashed"), reply_to=m), {"partition": 2}]
    grid, registry, _ = _apart(experiment, tmp_path, {11: lambda m: _reply(m, said.pop(0))})
    registry.refresh()
    before = dict(registry.nodes)
    time.sleep(0.25)
    registry.refresh()
    assert (before, registry.nodes, len(grid.pushed)) == ({}, {2: 11}, 2)


def _reply(message: Message, said: Any) -> Message:
    found: Message = said(message) if callable(said) else _says(said)(message)
    return found


def test_node_that_was_started_again_is_asked_again(experiment: Experiment, tmp_path: Path) -> None:
    grid, registry, _ = _apart(experiment, tmp_path, {11: {"partition": 0}})
    registry.refresh()
    before = registry.session(0)
    grid.restart(11)
    registry.refresh()
    assert (len(grid.pushed), registry.session(0) == before, registry.nodes) == (2, False, {0: 11})


def test_client_that_left_is_expected_back_for_a_while(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_registry, "RETURN_SECONDS", 0.1)
    grid, registry, _ = _apart(experiment, tmp_path, {11: {"partition": 0}})
    registry.refresh()
    grid.stop(11)
    registry.refresh()
    soon = registry.expected(0)
    time.sleep(0.15)
    assert (soon, registry.expected(0)) == (True, False)


def test_client_that_never_came_is_not_expected(experiment: Experiment, tmp_path: Path) -> None:
    _, registry, _ = _apart(experiment, tmp_path, {11: {"partition": 0}})
    registry.refresh()
    assert not registry.expected(3)


def test_hello_under_way_makes_its_own_client_expected_and_no_other(
    experiment: Experiment, tmp_path: Path
) -> None:
    """The run knows the key of client 1; its node says nothing."""
    answers: dict[int, Any] = {11: {"partition": 0}, 12: {"partition": 1}}
    grid, registry, _ = _apart(experiment, tmp_path, answers)
    registry.refresh()
    answers[12] = lambda m: None
    grid.restart(12)
    registry.refresh()
    registry._gone.clear()  # it left a moment ago, too
    assert [registry.expected(client) for client in range(4)] == [False, True, False, False]


def test_hello_of_an_unknown_key_makes_clients_expected_that_never_came(
    experiment: Experiment, tmp_path: Path
) -> None:
    answers = {11: {"partition": 0}, 12: lambda m: None}
    _, registry, _ = _apart(experiment, tmp_path, answers)
    registry.refresh()
    assert [registry.expected(client) for client in range(4)] == [False, True, True, True]


def test_node_that_stays_silent_is_expected_once(experiment: Experiment, tmp_path: Path) -> None:
    grid, registry, _ = _apart(experiment, tmp_path, {11: lambda m: None})
    registry.refresh()
    first = registry.expected(0)
    grid.restart(11)
    registry.refresh()
    assert (first, registry.expected(0), len(grid.pushed)) == (True, False, 2)


def test_silent_node_is_asked_ever_more_rarely(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_registry, "ANSWER_SECONDS", 0.05)
    grid, registry, _ = _apart(experiment, tmp_path, {11: lambda m: None})
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        registry.refresh()
        time.sleep(0.01)
    assert len(grid.pushed) <= 5


def test_client_that_comes_and_goes_is_expected_no_more(
    experiment: Experiment, tmp_path: Path
) -> None:
    grid, registry, heard = _apart(
        experiment, tmp_path, {11: {"partition": 0}, 12: {"partition": 1}}
    )
    for _ in range(8):
        registry.refresh()
        grid.stop(11)
        registry.refresh()
        grid.start(11)
    assert (registry.expected(0), registry.nodes) == (False, {1: 12})
    assert "Client 0 has come online 6 times in 30 minutes without doing any work." in heard[-3]


def test_client_that_comes_and_goes_is_asked_again_after_a_while(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconnections, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(client_registry, "PAUSE_SECONDS", 0.01)
    grid, registry, _ = _apart(experiment, tmp_path, {11: {"partition": 0}})
    for _ in range(6):
        registry.refresh()
        grid.restart(11)
    registry.refresh()
    before = dict(registry.nodes)
    time.sleep(0.3)
    registry.refresh()
    assert (before, registry.nodes) == ({}, {0: 11})


def test_client_that_does_its_work_may_come_and_go(experiment: Experiment, tmp_path: Path) -> None:
    grid, registry, heard = _apart(experiment, tmp_path, {11: {"partition": 0}})
    for _ in range(20):
        registry.refresh()
        registry.worked(0)
        grid.restart(11)
    registry.refresh()
    assert (registry.nodes, [text for text in heard if "without doing" in text]) == ({0: 11}, [])


def test_key_that_comes_back_under_another_id_is_the_same_client(
    experiment: Experiment, tmp_path: Path
) -> None:
    answers = {11: {"partition": 0}, 12: {"partition": 0}}
    grid, registry, heard = _apart(experiment, tmp_path, answers)
    grid.stop(12)
    registry.refresh()
    grid.stop(11)
    grid.start(12, key=b"key of 11")
    registry.refresh()
    assert (registry.nodes, heard) == ({0: 12}, ["Client 0 is back."])


def test_number_stays_with_its_first_key(experiment: Experiment, tmp_path: Path) -> None:
    answers = {11: {"partition": 0}, 12: {"partition": 0}}
    grid, registry, heard = _apart(experiment, tmp_path, answers)
    grid.stop(12)
    registry.refresh()
    grid.stop(11)
    grid.start(12)
    registry.refresh()
    assert (registry.nodes, "which another key has" in heard[0]) == ({}, True)


def test_waiting_operator_is_told_who_is_there(experiment: Experiment, tmp_path: Path) -> None:
    _, registry, heard = _apart(experiment, tmp_path, {11: {"partition": 0}})
    registry.wait(0.1)
    assert heard == ["1 of 4 clients are there; waiting."]

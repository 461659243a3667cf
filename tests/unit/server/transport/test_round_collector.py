"""One round's asking: who dies is asked again, who refuses is not, and nobody waits for ever."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from flwr.app import Error, Message, MessageType, RecordDict

from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.runs.events import Events
from fedsafe.runs.store import Store
from server.transport import client_registry, dispatch, round_collector, waiting_notes
from server.transport.client_identity import ClientIdentities
from server.transport.client_registry import ClientRegistry
from server.transport.round_collector import RoundCollector
from tests.doubles.grids import HttpGrid, empty_reply, hello

Train = Callable[[Message, int], Message | None]
"""A client's answer to being asked for the n-th time; None: it is silent."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(dispatch, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(round_collector, "RETRY_SECONDS", (0.001,))
    monkeypatch.setattr(round_collector, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(client_registry, "RETURN_SECONDS", 5.0)


class Round:
    """Four machines, node 10 + k being client k, and one round's asking of them all."""

    def __init__(self, experiment: Experiment, directory: Path, **federation: Any) -> None:
        values = experiment.model_dump(mode="json")
        values["federation"] |= {"deadline": 2, **federation}
        self.experiment = validate(values)
        self.train: dict[int, Train] = {}
        self.asked = dict.fromkeys(range(4), 0)
        self.heard: list[str] = []
        self.grid = HttpGrid(self._answer)
        for node in range(10, 14):
            self.grid.start(node)
        events = Events(listen=lambda event: self.heard.append(event.message))
        members = ClientIdentities(self.experiment, Store(directory), events)
        self.registry = ClientRegistry(self.grid, 4, events, members)
        self.registry.wait(5)
        self.accepted: set[int] = set()
        requests = {n: Message(RecordDict(), 0, MessageType.TRAIN, group_id="1") for n in range(4)}
        self.collector = RoundCollector(
            self.grid,
            self.registry,
            requests,
            self.experiment.federation,
            self.experiment.minimum_replies,
            events,
        )

    def _answer(self, message: Message) -> Message | None:
        client = message.metadata.dst_node_id - 10
        if message.metadata.message_type != MessageType.TRAIN:
            return hello(message, f'{{"partition": {client % 4}}}')
        self.asked[client % 4] += 1
        return self.train.get(client, _well)(message, self.asked[client % 4])

    def at(self, look: int, *steps: Callable[[], None]) -> None:
        """Let something happen a number of looks from now."""
        self.grid.script[self.grid.looked + look] = lambda: [step() for step in steps] and None

    def run(self) -> dict[int, bool]:
        """Return who answered, and whether well."""
        self.collector.assemble()
        return dict(self._found())

    def _found(self) -> Iterator[tuple[int, bool]]:
        for client, reply in self.collector.replies(lambda: len(self.accepted) >= 2):
            if not reply.has_error():
                self.accepted.add(client)
            yield client, not reply.has_error()


def _well(message: Message, time: int) -> Message:
    return empty_reply(message)


def _silent(message: Message, time: int) -> None:
    return None


def _error(code: int, reason: str = "boom", until: int = 10**6) -> Train:
    """Answer with an error, and well from the next time on."""

    def answer(message: Message, times: int) -> Message:
        if times <= until:
            return Message(Error(code, reason), reply_to=message)
        return empty_reply(message)

    return answer


ALL_WELL = dict.fromkeys(range(4), True)


def test_everybody_answers(experiment: Experiment, tmp_path: Path) -> None:
    assert Round(experiment, tmp_path).run() == ALL_WELL


def test_message_is_addressed_to_the_node_of_its_client(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path)
    one.run()
    sent = [m.metadata for m in one.grid.pushed if m.metadata.message_type == MessageType.TRAIN]
    assert [(m.dst_node_id, m.group_id) for m in sent] == [(n, "1") for n in range(10, 14)]


@pytest.mark.parametrize("code", [0, 1, 3, 8])
def test_client_whose_process_died_is_asked_again(
    code: int, experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path)
    one.train[2] = _error(code, until=1)
    assert (one.run(), one.collector.times(2), one.collector.sent) == (ALL_WELL, 2, 5)


def test_client_whose_trainer_died_is_asked_again(experiment: Experiment, tmp_path: Path) -> None:
    one = Round(experiment, tmp_path)
    one.train[2] = _error(2, "<class 'fedsafe.errors.TransientError'>:<'It died.'>", until=1)
    assert one.run() == ALL_WELL


def test_operator_is_told_that_a_client_is_asked_again(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path)
    one.train[2] = _error(8, until=1)
    one.run()
    assert "Client 2: its ClientApp stopped responding. It is asked again" in one.heard[-1]


def test_client_that_refuses_is_not_asked_again(experiment: Experiment, tmp_path: Path) -> None:
    one = Round(experiment, tmp_path)
    one.train[2] = _error(2, "<class 'fedsafe.errors.RunError'>:<'No.'>")
    assert (one.run(), one.collector.times(2)) == ({**ALL_WELL, 2: False}, 1)


def test_client_that_dies_every_time_is_given_up(experiment: Experiment, tmp_path: Path) -> None:
    one = Round(experiment, tmp_path, retries=2)
    one.train[2] = _error(8)
    assert (one.run(), one.collector.times(2)) == ({**ALL_WELL, 2: False}, 3)


def test_node_that_goes_and_comes_back_is_asked_again(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path)
    one.train[2] = lambda message, times: None if times == 1 else empty_reply(message)
    one.at(8, lambda: one.grid.stop(12))
    one.at(20, lambda: one.grid.start(12))
    assert (one.run(), one.collector.times(2)) == (ALL_WELL, 2)


def test_node_that_goes_with_half_its_reply_sent_is_asked_again(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path)
    one.grid.mute = True
    one.train[2] = lambda message, times: None if times == 1 else empty_reply(message)
    one.at(8, lambda: one.grid.stop(12))
    one.at(16, lambda: one.grid.start(12))
    assert (one.run(), one.collector.times(2)) == (ALL_WELL, 2)


def test_node_that_comes_back_under_another_id_is_asked_again(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path)
    one.train[2] = _silent
    one.at(8, lambda: one.grid.stop(12))
    one.at(20, lambda: one.grid.start(16, key=b"key of 12"))
    assert (one.run(), one.collector.times(2)) == (ALL_WELL, 2)


def test_node_that_was_started_again_unseen_is_asked_again(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path)
    one.train[2] = lambda message, times: None if times == 1 else empty_reply(message)
    one.at(8, lambda: one.grid.restart(12))
    assert (one.run(), one.collector.times(2)) == (ALL_WELL, 2)


def test_node_that_stays_away_is_given_up(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_registry, "RETURN_SECONDS", 0.1)
    one = Round(experiment, tmp_path, deadline=60)
    one.train[2] = _silent
    one.at(8, lambda: one.grid.stop(12))
    begun = time.monotonic()
    found = one.run()
    assert (found, time.monotonic() - begun < 10) == ({0: True, 1: True, 3: True}, True)
    assert one.collector.reason(2) == "its node went offline"


def test_going_offline_costs_one_try_however_long_it_lasts(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path, retries=1)
    one.train[2] = lambda message, times: None if times == 1 else empty_reply(message)
    one.at(8, lambda: one.grid.stop(12))
    one.at(9, lambda: time.sleep(0.1))
    one.at(15, lambda: one.grid.start(12))
    assert one.run() == ALL_WELL


def test_client_that_comes_late_takes_part(experiment: Experiment, tmp_path: Path) -> None:
    one = Round(experiment, tmp_path)
    one.grid.stop(13)
    one.train[2] = lambda m, times: None if times == 1 else empty_reply(m)
    one.at(8, lambda: one.grid.start(13), lambda: one.grid.restart(12))
    assert one.run() == ALL_WELL


def test_client_that_was_never_there_is_not_waited_for(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path, deadline=60)
    one.grid.stop(13)
    one.registry = one.collector._registry = ClientRegistry(
        one.grid, 4, Events(), one.registry.members
    )
    one.registry.refresh()
    begun = time.monotonic()
    found = one.run()
    assert (found, time.monotonic() - begun < 5) == ({0: True, 1: True, 2: True}, True)
    assert one.collector.reason(3) == "offline"


def test_straggler_is_waited_for_until_the_deadline(experiment: Experiment, tmp_path: Path) -> None:
    one = Round(experiment, tmp_path, deadline=0.3)
    one.train[2] = _silent
    begun = time.monotonic()
    assert one.run() == {0: True, 1: True, 3: True}
    assert 0.25 < time.monotonic() - begun < 2
    assert one.collector.reason(2) == "no reply in 0.3 s"


def test_straggler_is_waited_for_no_longer_than_the_grace(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path, deadline=60, grace=0.2)
    one.train[2] = _silent
    begun = time.monotonic()
    assert one.run() == {0: True, 1: True, 3: True}
    assert 0.15 < time.monotonic() - begun < 5
    assert one.collector.reason(2) == "no reply within 0.2 s of the 2 that a round needs"


def test_grace_begins_with_the_replies_that_a_round_needs(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path, deadline=0.4, grace=0.01)
    one.train = dict.fromkeys((1, 2, 3), _silent)
    begun = time.monotonic()
    assert one.run() == {0: True}
    assert time.monotonic() - begun > 0.35


def test_message_lives_until_the_deadline(experiment: Experiment, tmp_path: Path) -> None:
    one = Round(experiment, tmp_path, deadline=50)
    one.run()
    assert one.grid.pushed[-1].metadata.ttl == pytest.approx(50, abs=1)


def test_message_of_one_who_is_asked_again_lives_no_longer(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path, deadline=50)
    one.train[2] = _error(8, until=1)
    one.at(3, lambda: time.sleep(0.2))
    one.run()
    assert one.grid.pushed[-1].metadata.ttl < 49.9


def test_round_waits_for_enough_clients(experiment: Experiment, tmp_path: Path) -> None:
    one = Round(experiment, tmp_path, grace=0.1)
    for node in (11, 12, 13):
        one.grid.stop(node)
    Timer(0.1, one.grid.start, (13,)).start()
    assert one.run().keys() >= {0, 3}
    assert "Too few clients: 1 of the cohort's 4, and 2 are needed." in "".join(one.heard)


def test_round_waits_for_enough_clients_no_longer_than_the_deadline(
    experiment: Experiment, tmp_path: Path
) -> None:
    one = Round(experiment, tmp_path, deadline=0.2)
    for node in (11, 12, 13):
        one.grid.stop(node)
    begun = time.monotonic()
    assert one.run() == {0: True}
    assert 0.35 < time.monotonic() - begun < 3


def test_reply_to_an_earlier_asking_counts(experiment: Experiment, tmp_path: Path) -> None:
    one = Round(experiment, tmp_path)
    one.train[2] = lambda message, times: empty_reply(message) if times == 1 else None
    looks = iter([8])
    one.grid._looks = lambda node: next(looks, 1) if node == 12 else 1
    one.at(8, lambda: one.grid.lapse(12))
    assert (one.run(), one.collector.times(2)) == (ALL_WELL, 2)


def test_operator_is_told_at_intervals_whom_a_round_waits_for(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_notes, "TELL_SECONDS", (0.1, 0.1, 10.0))
    one = Round(experiment, tmp_path, deadline=60, grace=0.5)
    one.train[2] = _silent
    one.grid.stop(13)
    one.run()
    told = [text for text in one.heard if text.startswith("Waiting for")]
    assert len(told) == 2
    assert told[0].startswith("Waiting for client 2 (at work), client 3 (offline, expected back); ")
    assert "2 of the cohort's 4 need no more waiting. The round ends in 0 s" in told[1]


def test_round_does_not_wait_for_one_that_comes_and_goes(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes before its work is sent, and comes back before it is given up, for ever."""
    one = Round(experiment, tmp_path, deadline=60, grace=None)
    one.train[2] = _silent

    def flap(up: bool) -> None:
        (one.grid.start if up else one.grid.stop)(12)
        one.at(3, lambda: flap(not up))

    one.at(3, lambda: flap(False))
    begun = time.monotonic()
    found = one.run()
    assert (found, time.monotonic() - begun < 15) == ({0: True, 1: True, 3: True}, True)


def test_round_spends_no_more_on_the_absent_than_a_return_takes(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_registry, "RETURN_SECONDS", 0.3)
    one = Round(experiment, tmp_path, deadline=60, grace=None)
    monkeypatch.setattr(one.registry, "expected", lambda client: True)
    one.grid.stop(12)
    one.registry.refresh()
    begun = time.monotonic()
    assert one.run() == {0: True, 1: True, 3: True}
    assert 0.25 < time.monotonic() - begun < 10


def test_client_that_is_left_out_is_not_asked(experiment: Experiment, tmp_path: Path) -> None:
    one = Round(experiment, tmp_path)
    one.collector._open.pop(2)
    assert (one.run(), one.collector.times(2)) == ({0: True, 1: True, 3: True}, 0)


def test_default_grace_is_far_below_the_deadline() -> None:
    defaults = Experiment().federation
    assert defaults.grace is not None
    assert defaults.grace <= defaults.deadline / 6

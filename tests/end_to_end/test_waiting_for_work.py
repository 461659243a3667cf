"""A client that asks for work waits at the server until there is some, through the front."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.proto.message_pb2 import ObjectTree

from fedsafe.deployment.server.nginx import nginx
from fedsafe.deployment.server.superlink import QUIET
from fedsafe.messages import REFUSED
from server.transport.client_errors import transient
from server.transport.dispatch import Dispatcher
from tests.doubles.deployment import Client, adapter, ask, pieces, status_of, tree
from tests.doubles.place import Place, server_machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),  # Flower's own
    pytest.mark.skipif(nginx() is None, reason="nginx is not installed (apt: nginx-light)"),
]
HOLD = QUIET + 3.0
SOON = 2.0
"""Seconds that a busy machine may take for what it does at once."""
MIB = 1024**2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with server_machine(tmp_path_factory.mktemp("server"), hold=HOLD) as place:
        place.open_front()
        yield place


@pytest.fixture(scope="module")
def grid(place: Place) -> Iterator[Any]:
    with place.run() as grid:
        yield grid


@dataclass
class Question:
    """A client that has asked for work, in a thread of its own."""

    client: Client

    def __post_init__(self) -> None:
        self.answer: Any = ()
        self.status, self.seconds = 0, 0.0
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        time.sleep(0.5)  # it is there, and waits

    def _ask(self) -> None:
        begun = time.monotonic()
        self.status = status_of(self._pull)
        self.seconds = time.monotonic() - begun
        for message in self.answer:
            self.client.confirm(message)

    def _pull(self) -> None:
        self.answer = self.client.pull().messages_list

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float) -> "Question":
        self._thread.join(seconds)
        assert not self.waits, "it got no answer"
        return self


def test_work_is_handed_out_the_moment_it_is_there(place: Place, grid: Any) -> None:
    question = Question(place.member(0))
    assert question.waits
    begun = time.monotonic()
    message = ask(grid, place.member(0).node, "train", adapter(MIB))
    question.wait(SOON)
    assert time.monotonic() - begun < SOON
    assert [one.metadata.message_id for one in question.answer] == [message]


def test_work_that_is_there_is_not_waited_for(place: Place, grid: Any) -> None:
    ask(grid, place.member(0).node, "train", adapter(MIB))
    begun = time.monotonic()
    (message,) = place.member(0).pull().messages_list
    assert time.monotonic() - begun < SOON
    place.member(0).confirm(message)


def test_a_question_in_vain_is_answered_in_the_end(place: Place, grid: Any) -> None:
    question = Question(place.member(0)).wait(HOLD + SOON)
    assert list(question.answer) == []
    assert question.seconds > HOLD - 1


def test_work_of_another_wakes_nobody(place: Place, grid: Any) -> None:
    question = Question(place.member(0))
    ask(grid, place.member(1).node, "train", adapter(MIB))
    time.sleep(0.5)
    assert question.waits
    question.wait(HOLD + SOON)


def test_the_second_question_of_a_node_ends_the_first(place: Place, grid: Any) -> None:
    first = Question(place.member(0))
    second = Question(place.member(0))
    assert first.wait(SOON).status == 409
    ask(grid, place.member(0).node, "train", adapter(MIB))
    assert second.wait(SOON).answer


def test_one_who_waits_is_online_and_not_replaced(place: Place, grid: Any) -> None:
    Question(place.member(2))
    question = Question(place.member(2))  # the end of the first is not the end of this one
    time.sleep(QUIET + 0.5)
    assert status_of(place.client(2).activate) == 412
    question.wait(HOLD + SOON)


def test_one_who_hung_up_is_let_in_again_at_once(place: Place, grid: Any) -> None:
    place.member(2)
    gone = place.members.pop(2)
    gone.fleet._client.timeout = 0.5
    with pytest.raises(Exception, match="timed out"):
        gone.pull()
    gone.fleet.close()
    time.sleep(0.3)
    assert status_of(place.client(2).activate) == 200


def test_why_a_reply_was_refused_reaches_the_server(place: Place, grid: Any) -> None:
    client, post = place.member(1), Dispatcher(grid)
    message = Message(adapter(MIB), dst_node_id=client.node, message_type="train")
    ids = post.send({7: message}, 60.0)
    question = client.question()
    assert question.metadata.message_id == ids[7]
    leaves = [ObjectTree(object_id=f"{n:064x}") for n in range(2000)]
    large = ObjectTree(object_id="f" * 64, children=leaves)
    assert status_of(lambda: client.offer(question, large)) == 413
    ((who, reply),) = post.take()
    assert (who, reply.error.code) == (7, REFUSED)
    assert reply.error.reason.startswith("refused: a reply of 2001 objects; at most ")
    assert not post.under_way


def test_a_message_that_did_not_arrive_is_handed_out_again(place: Place, grid: Any) -> None:
    client = place.member(1)
    message = ask(grid, client.node, "train", adapter(MIB))
    first = client.question()  # as if the answer had been lost with the front
    again = client.question()
    assert first.metadata.message_id == again.metadata.message_id == message


def test_a_client_that_gave_up_its_reply_is_told_of(place: Place, grid: Any) -> None:
    client, post = place.member(1), Dispatcher(grid)
    message = Message(adapter(MIB), dst_node_id=client.node, message_type="train")
    ids = post.send({7: message}, 60.0)
    question = client.question()
    assert question.metadata.message_id == ids[7]
    client.confirm(question)
    assert list(post.take()) == []  # it is at work
    client.pull()
    ((who, reply),) = post.take()
    assert (who, reply.error.code) == (7, ErrorCode.MESSAGE_UNAVAILABLE)
    assert transient(reply.error)


def test_several_questions_are_handed_out_one_after_the_other(place: Place, grid: Any) -> None:
    client = place.member(0)
    sent = {
        ask(grid, client.node, kind, adapter(MIB, n)) for n, kind in enumerate(("train", "query"))
    }
    begun, got = time.monotonic(), set()
    for _ in sent:
        (message,) = client.pull().messages_list
        client.confirm(message)
        got.add(message.metadata.message_id)
    assert got == sent
    assert time.monotonic() - begun < SOON


def test_a_question_that_was_replaced_is_in_nobodys_way(place: Place, grid: Any) -> None:
    client = place.member(0)
    for seed in (1, 2):
        newest = ask(grid, client.node, "train", adapter(MIB, seed))
    begun = time.monotonic()
    assert [one.metadata.message_id for one in client.pull().messages_list] == [newest]
    assert time.monotonic() - begun < SOON


def test_a_piece_that_is_sent_once_more_is_there(place: Place, grid: Any) -> None:
    client = place.member(0)
    message = ask(grid, client.node, "train", adapter(MIB))
    question = client.question()
    assert question.metadata.message_id == message
    client.confirm(question)
    (name, content), *_ = pieces(1, MIB).items()
    session = client.offer(question, tree([name])).session_id
    assert client.push(question, session, name, content)
    assert client.push(question, session, name, content)  # as if the answer had been lost


def test_a_question_that_flower_has_dropped_is_in_nobodys_way(place: Place, grid: Any) -> None:
    client = place.members.pop(1)
    message = ask(grid, client.node, "train", adapter(MIB))
    client.fleet.DeactivateNode(DeactivateNodeRequest(node_id=client.node))
    (reply,) = grid.pull_messages([message])
    assert reply.error.code == ErrorCode.NODE_UNAVAILABLE  # and the question is gone
    client.activate()
    client.pull()
    begun = time.monotonic()
    assert not client.pull().messages_list
    assert time.monotonic() - begun > HOLD - 1  # it waits, and does not ask in circles

"""The in-process grid: a client sees what it would see anywhere, and its failure is a reply."""

from collections.abc import Iterator

import pytest
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp

from fedsafe.launch.grid import InlineGrid


@pytest.fixture
def grid() -> Iterator[InlineGrid]:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        number = int(str(context.node_config["partition-id"]))
        if number == 1:
            raise RuntimeError("out of luck")
        context.state["seen"] = ConfigRecord({"rounds": _rounds(context) + 1})
        answer = ConfigRecord({"client": number, "rounds": _rounds(context)})
        return Message(RecordDict({"config": answer}), reply_to=message)

    return InlineGrid(app, 3)


def _rounds(context: Context) -> int:
    record = context.state.get("seen")
    return int(str(record["rounds"])) if isinstance(record, ConfigRecord) else 0


def _message(node: int) -> Message:
    return Message(RecordDict(), node, MessageType.TRAIN)


def test_every_client_has_a_node(grid: InlineGrid) -> None:
    assert len(set(grid.get_node_ids())) == 3


def test_reply_comes_from_the_node_that_was_asked(grid: InlineGrid) -> None:
    first, _, third = grid.get_node_ids()
    replies = list(grid.send_and_receive([_message(third), _message(first)]))
    assert [m.metadata.src_node_id for m in replies] == [third, first]
    assert [m.content["config"]["client"] for m in replies] == [2, 0]


def test_reply_names_the_message_it_answers(grid: InlineGrid) -> None:
    (identity,) = grid.push_messages([_message(2)])
    (reply,) = grid.pull_messages([identity])
    assert reply.metadata.reply_to_message_id == identity


def test_replies_come_one_a_look(grid: InlineGrid) -> None:
    ids = list(grid.push_messages([_message(2), _message(4)]))
    counts = [len(list(grid.pull_messages(ids))) for _ in range(3)]
    assert counts == [1, 1, 0]


def test_client_that_fails_answers_with_an_error(grid: InlineGrid) -> None:
    (reply,) = grid.send_and_receive([_message(3)])
    assert (reply.has_error(), "out of luck" in str(reply.error.reason)) == (True, True)


def test_node_that_is_not_there_answers_with_an_error(grid: InlineGrid) -> None:
    (reply,) = grid.send_and_receive([_message(99)])
    assert reply.has_error()


def test_state_of_a_client_is_kept_between_rounds(grid: InlineGrid) -> None:
    found = [next(iter(grid.send_and_receive([_message(2)]))) for _ in range(3)]
    assert [m.content["config"]["rounds"] for m in found] == [1, 2, 3]


def test_state_of_a_client_is_its_own(grid: InlineGrid) -> None:
    grid.send_and_receive([_message(2)])
    (reply,) = grid.send_and_receive([_message(4)])
    assert reply.content["config"]["rounds"] == 1

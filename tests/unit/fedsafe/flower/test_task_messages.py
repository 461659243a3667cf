"""Ids of messages and of the task, where Flower reads them; elsewhere is an error."""

from collections.abc import Iterator

import pytest
from flwr.app import Message, MessageType, RecordDict

from fedsafe.errors import LaunchError
from fedsafe.flower.internals import TaskIdentity
from fedsafe.flower.task_messages import enter_task, set_message_id


@pytest.fixture(autouse=True)
def _own_task() -> Iterator[None]:
    known = TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id
    yield
    TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = known


def _message() -> Message:
    return Message(RecordDict(), dst_node_id=3, message_type=MessageType.TRAIN)


def test_message_has_the_id_that_it_was_given() -> None:
    enter_task(5, 6, 7)
    message = _message()
    set_message_id(message, "m")
    assert message.metadata.message_id == "m"


def test_message_is_of_the_task_that_made_it() -> None:
    enter_task(5, 6, 7)
    assert (_message().metadata.run_id, _message().metadata.src_node_id) == (5, 6)


def test_message_can_be_made_in_a_task_only() -> None:
    TaskIdentity._run_id = TaskIdentity._node_id = TaskIdentity._task_id = None
    with pytest.raises(RuntimeError, match="TaskIdentity"):
        _message()


def test_id_that_flower_keeps_elsewhere_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    enter_task(5, 6, 7)
    message = _message()
    elsewhere = property(lambda self: self.__dict__.get("_id", ""))
    monkeypatch.setattr(type(message.metadata), "message_id", elsewhere)
    with pytest.raises(LaunchError, match=r"lacks flwr\.app\.Metadata\._message_id"):
        set_message_id(message, "m")


@pytest.mark.parametrize("name", ["run_id", "node_id", "task_id"])
def test_task_that_flower_keeps_elsewhere_is_an_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(type(TaskIdentity), name)
    with pytest.raises(LaunchError, match=rf"TaskIdentity\.{name}"):
        enter_task(5, 6, 7)

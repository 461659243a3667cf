"""A node's line: online, a message in, a reply out, offline; Flower's own SuperLink behind it."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.proto import fleet_pb2, message_pb2
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.superlink.servicer.fleet import fleet_handlers

from fedsafe.deployment.client.fleet_client import RequestFailedError, SessionEndedError
from fedsafe.deployment.client.fleet_connection import FleetConnection
from tests.doubles.superlink import SuperLink, superlink

KEY = b"key 0"


class Fleet:
    """Flower's fleet handlers, called as its client calls them."""

    def __init__(self, link: SuperLink, *, listed: bool = False) -> None:
        state, store = link.state, link.state.object_store
        self.known = True
        """Whether it takes heartbeats."""
        self._handlers: dict[str, Callable[[Any], Any]] = {
            "RegisterNode": lambda r: fleet_handlers.register_node(r, state, listed),
            "ActivateNode": lambda r: fleet_handlers.activate_node(r, state),
            "DeactivateNode": lambda r: fleet_handlers.deactivate_node(r, state),
            "PullMessages": lambda r: fleet_handlers.pull_messages(r, state, store),
            "PushMessages": lambda r: fleet_handlers.push_messages(r, state),
            "PullObject": lambda r: fleet_handlers.pull_object(r, state),
            "PushObject": lambda r: fleet_handlers.push_object(r, state),
            "ConfirmMessageReceived": lambda r: fleet_handlers.confirm_message_received(
                r, state, store
            ),
            "SendNodeHeartbeat": self._beat,
        }
        self._state = state

    def _beat(self, request: Any) -> Any:
        if not self.known:
            response = httpx.Response(401, request=httpx.Request("POST", "https://x"))
            raise httpx.HTTPStatusError("", request=response.request, response=response)
        return fleet_handlers.send_node_heartbeat(request, self._state)

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        return self._handlers[name]


class FleetClient:
    """As `fedsafe.deployment.client.fleet_client.FleetClient`, without a network."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def __call__(self, method: Any, request: Any, most: float | None = None) -> Any:
        try:
            return method(request)
        except FlowerError as error:
            raise RequestFailedError(str(error), 412) from None


@pytest.fixture
def link() -> SuperLink:
    made = superlink(1)
    made.state.deactivate_node(made.nodes[0].node)
    return made


def line(
    link: SuperLink, key: bytes = KEY, *, listed: bool = False
) -> tuple[FleetConnection, Fleet]:
    fleet = Fleet(link, listed=listed)
    return FleetConnection(FleetClient(fleet), key), fleet  # type: ignore[arg-type]


def ask(link: SuperLink, node: int, size: int = 1000) -> Message:
    record = ArrayRecord({"lora": Array(np.arange(size, dtype=np.float32))})
    content = RecordDict({"arrays": record, "config": ConfigRecord({"job": "{}"})})
    message = Message(content, dst_node_id=node, message_type="train", ttl=60.0)
    link.grid.push_messages([message])
    return message


def online(link: SuperLink) -> set[int]:
    return {node.node_id for node in link.state.get_node_info(statuses=["online"])}


def test_a_node_that_is_registered_comes_online(link: SuperLink) -> None:
    one, _ = line(link, listed=True)
    assert online(link) == set()
    assert {one.open()} == online(link) == {link.nodes[0].node}
    one.close()
    assert online(link) == set()


def test_a_server_without_a_list_is_told_the_key(link: SuperLink) -> None:
    one, _ = line(link, b"a new key")
    node = one.open()
    assert node != link.nodes[0].node
    assert node in online(link)
    one.close()


def test_it_is_the_same_node_when_it_comes_back(link: SuperLink) -> None:
    first, _ = line(link, b"a new key")
    node = first.open()
    first.close()
    again, _ = line(link, b"a new key")
    assert again.open() == node
    again.close()


def test_a_key_that_is_not_listed_is_not_let_in(link: SuperLink) -> None:
    one, _ = line(link, b"a new key", listed=True)
    with pytest.raises(SessionEndedError) as caught:
        one.open()
    assert caught.value.kind == "key"


def test_a_second_node_with_the_same_key_is_not_let_in(link: SuperLink) -> None:
    first, second = line(link)[0], line(link)[0]
    first.open()
    with pytest.raises(SessionEndedError):
        second.open()
    first.close()


def test_no_work_is_none(link: SuperLink) -> None:
    one, _ = line(link)
    one.open()
    assert one.next() is None
    one.close()


def test_a_message_comes_whole_and_its_reply_arrives(link: SuperLink) -> None:
    one, _ = line(link)
    asked = ask(link, one.open())
    message = one.next()
    assert message is not None
    assert message.content["arrays"]["lora"].numpy().tolist() == list(range(1000))
    assert message.metadata.message_id == asked.metadata.message_id
    one.answer(Message(message.content, reply_to=message), 0.1)
    (reply,) = link.grid.pull_messages([asked.metadata.message_id])
    assert reply.content["arrays"]["lora"].numpy().tolist() == list(range(1000))
    assert one.next() is None
    one.close()


def test_a_message_that_never_came_whole_is_said(
    link: SuperLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = line(link)
    asked = ask(link, one.open())
    forgotten = link.state.object_store.delete
    pull = fleet_handlers.pull_messages

    def pull_and_forget(*given: Any) -> Any:
        answer = pull(*given)
        forgotten(asked.metadata.message_id)
        return answer

    monkeypatch.setattr(fleet_handlers, "pull_messages", pull_and_forget)
    with pytest.raises(RequestFailedError):
        one.next()
    one.close()


def test_a_reply_to_a_run_that_is_over_is_lost(link: SuperLink) -> None:
    one, _ = line(link)
    ask(link, one.open())
    message = one.next()
    assert message is not None

    def over(_: Any) -> Any:
        raise FlowerError(ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED, "the run is over")

    one._calls.fleet._handlers["PushMessages"] = over  # type: ignore[attr-defined]
    with pytest.raises(RequestFailedError, match="the run is over"):
        one.answer(Message(message.content, reply_to=message), 0.1)
    one.close()


def test_a_server_that_forgot_the_session_ends_it(link: SuperLink) -> None:
    one, fleet = line(link)
    one.open()
    fleet.known = False
    one._beat()
    with pytest.raises(SessionEndedError) as caught:
        one.next()
    assert caught.value.kind == "session"
    one.close()


def test_an_answer_that_makes_no_sense_is_lost(link: SuperLink) -> None:
    one, fleet = line(link)
    one.open()
    fleet._handlers["PullMessages"] = lambda _: fleet_pb2.PullMessagesResponse(
        messages_list=[message_pb2.Message()]
    )
    with pytest.raises(RequestFailedError):
        one.next()
    one.close()


def test_a_server_that_is_no_superlink_is_not_taken_for_a_list(link: SuperLink) -> None:
    one, fleet = line(link)

    def absent(_: Any) -> Any:
        raise RequestFailedError("HTTP 404", 404)

    fleet._handlers["ActivateNode"] = fleet._handlers["RegisterNode"] = absent
    with pytest.raises(SessionEndedError) as caught:
        one.open()
    assert (caught.value.kind, caught.value.words) == ("refused", "HTTP 404")


@pytest.mark.parametrize("error", [ValueError("no protobuf"), httpx.DecodingError("gzip")])
def test_a_heartbeat_answered_with_nonsense_is_given_again(
    link: SuperLink, error: Exception
) -> None:
    one, fleet = line(link)
    one.open()

    def nonsense(_: Any) -> Any:
        raise error

    fleet._handlers["SendNodeHeartbeat"] = nonsense
    assert not one._beat()
    assert one.next() is None
    one.close()


def test_nonsense_at_the_end_does_not_matter(link: SuperLink) -> None:
    one, fleet = line(link)
    one.open()

    def nonsense(_: Any) -> Any:
        raise ValueError("no protobuf")

    fleet._handlers["DeactivateNode"] = nonsense
    one.close()


def test_a_message_of_a_run_that_is_over_is_lost_and_the_node_not_refused(link: SuperLink) -> None:
    one, fleet = line(link)
    ask(link, one.open())

    def over(_: Any) -> Any:
        raise FlowerError(ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED, "the run is over")

    fleet._handlers["PullObject"] = over
    with pytest.raises(RequestFailedError, match="the run is over") as caught:
        one.next()
    assert caught.value.status == 0
    one.close()

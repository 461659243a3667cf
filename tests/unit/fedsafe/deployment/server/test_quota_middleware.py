"""The guard in the SuperLink: each refusal and each entry in its books, before Flower's own app."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from flwr.supercore.protobuf import translation

from fedsafe.deployment.server.limits_middleware import SMALL
from fedsafe.deployment.server.pending import FACTOR, OFFERS, SLACK_OBJECTS
from fedsafe.deployment.server.quota import SLACK_BYTES, Quotas
from fedsafe.deployment.server.quota_middleware import QuotaMiddleware
from fedsafe.deployment.server.superlink import QUIET
from fedsafe.flower.internals import Node, ObjectTree, PullAppMessagesRequest, PullMessagesRequest
from fedsafe.flower.requirements import GUARDED
from fedsafe.flower.superlink_hooks import answer_of, request_of
from fedsafe.messages import REFUSED
from tests.doubles.asgi import Site, site
from tests.doubles.deployment import Client, adapter, ask, pieces, status_of, tree

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
HOLD = 0.4
SIZE = 40_000


@pytest.fixture(scope="module")
def link() -> Iterator[Site]:
    with site(hold=HOLD) as made:
        yield made


@pytest.fixture(scope="module")
def grid(link: Site) -> Any:
    return link.grid()


class Asked:
    """A client that has a question of the server's, whole."""

    def __init__(self, link: Site, grid: Any, kind: str = "train") -> None:
        self.grid, self.client = grid, link.member()
        self.message = ask(grid, self.client.node, kind, adapter(SIZE))
        self.question = self.client.question()
        self.client.confirm(self.question)
        self.quotas = quotas(link)

    def offer(self, ids: list[str], **metadata: Any) -> int:
        return status_of(lambda: self.client.offer(self.question, tree(ids), **metadata))

    def push(self, session: str, name: str, content: bytes) -> int:
        return status_of(lambda: self.client.push(self.question, session, name, content))

    def replies(self) -> list[Any]:
        """What the server is told of its question, as it comes over the network."""
        request = PullAppMessagesRequest(message_ids=[self.message])
        return list(self.grid._runtime_client.PullMessages(request).messages_list)


@pytest.fixture
def asked(link: Site, grid: Any) -> Asked:
    return Asked(link, grid)


def quotas(link: Site) -> Quotas:
    found = link.app.user_middleware[-1].kwargs["quotas"]
    assert isinstance(found, Quotas)
    return found


# --- Where it stands ------------------------------------------------------------------------


def test_guard_is_innermost_and_gate_outermost(link: Site) -> None:
    names = [one.cls.__name__ for one in link.app.user_middleware]
    assert (names[0], names[-1]) == ("LimitsMiddleware", "QuotaMiddleware")


def test_superlink_behind_the_gate_says_that_it_is_guarded(link: Site) -> None:
    assert link.control.guarded()


# --- What a client announces ----------------------------------------------------------------


def test_an_honest_reply_is_taken_and_its_question_closed(asked: Asked) -> None:
    before = len(asked.quotas)
    asked.client.answer(asked.question, adapter(SIZE))
    (reply,) = asked.grid.pull_messages([asked.message])
    assert reply.metadata.src_node_id == asked.client.node
    assert len(asked.quotas) == before - 1


def test_two_messages_at_once_are_refused(asked: Asked) -> None:
    from fedsafe.flower.internals import PushMessagesRequest

    request = PushMessagesRequest(node=Node(node_id=asked.client.node))
    assert status_of(lambda: asked.client.fleet.PushMessages(request)) == 413


def test_a_message_of_more_than_a_few_words_is_refused(asked: Asked) -> None:
    assert asked.offer(["a"], group_id="x" * SMALL) == 413


def test_a_message_in_anothers_name_is_refused(asked: Asked) -> None:
    assert asked.offer(["a"], src_node_id=asked.client.node + 1) == 409


def test_a_message_with_anothers_objects_is_refused(asked: Asked) -> None:
    assert asked.offer(["a"], message_id="other") == 409


def test_a_reply_to_no_question_is_refused(asked: Asked) -> None:
    assert asked.offer(["a"], reply_to_message_id="none") == 409


def test_a_reply_to_anothers_question_is_refused(link: Site, grid: Any, asked: Asked) -> None:
    other = Asked(link, grid)
    assert other.offer(["a"], reply_to_message_id=asked.message) == 409


def test_objects_are_counted_as_often_as_they_occur(asked: Asked) -> None:
    held = asked.quotas._questions[asked.message].ids
    most = FACTOR * len(held) + SLACK_OBJECTS
    assert asked.offer(["a"] * most) == 413  # and the message itself


def test_a_reply_of_as_many_objects_as_are_allowed_is_taken(asked: Asked) -> None:
    held = asked.quotas._questions[asked.message].ids
    assert asked.offer(list(pieces(FACTOR * len(held) + SLACK_OBJECTS - 1, 10))) == 200


def test_a_reply_that_was_refused_for_its_size_is_refused_for_good(asked: Asked) -> None:
    held = asked.quotas._questions[asked.message].ids
    asked.offer(["a"] * (FACTOR * len(held) + SLACK_OBJECTS))
    assert asked.offer(list(pieces(1, 10))) == 413


def test_the_server_is_told_why_there_is_no_reply(asked: Asked) -> None:
    held = asked.quotas._questions[asked.message].ids
    asked.offer(["a"] * (FACTOR * len(held) + SLACK_OBJECTS))
    (told,) = asked.replies()
    assert told.error.code == REFUSED
    assert "objects; at most" in told.error.reason
    assert told.metadata.reply_to_message_id == asked.message
    assert asked.message not in asked.quotas._questions


def test_a_second_different_reply_is_refused(asked: Asked) -> None:
    assert [asked.offer(list(pieces(1, 10))) for _ in range(2)] == [200, 409]


def test_a_reply_may_be_announced_a_few_times(asked: Asked) -> None:
    ids = list(pieces(1, 10))
    assert [asked.offer(ids) for _ in range(OFFERS + 1)] == [200] * OFFERS + [429]


# --- What a client sends --------------------------------------------------------------------


def test_an_object_of_no_reply_is_refused(asked: Asked) -> None:
    ((name, content),) = pieces(1, 10).items()
    assert asked.push("", name, content) == 409


def test_an_object_of_anothers_reply_is_refused(link: Site, grid: Any, asked: Asked) -> None:
    other, made = Asked(link, grid), pieces(1, 10)
    session = asked.client.offer(asked.question, tree(list(made))).session_id
    ((name, content),) = made.items()
    assert other.push(session, name, content) == 409


def test_bytes_are_counted_over_all_objects(asked: Asked) -> None:
    made = pieces(3, SLACK_BYTES // 2)
    session = asked.client.offer(asked.question, tree(list(made))).session_id
    assert [asked.push(session, *one) for one in made.items()] == [200, 200, 413]
    assert "bytes that are taken" in asked.replies()[0].error.reason


def test_a_reply_that_is_too_large_is_freed(link: Site, asked: Asked) -> None:
    made = pieces(3, SLACK_BYTES // 2)
    session = asked.client.offer(asked.question, tree(list(made))).session_id
    for one in made.items():
        asked.push(session, *one)
    kept = [name for name in made if link.state.object_store.get(name)]
    assert kept == []


def test_an_object_that_is_sent_once_more_is_there(asked: Asked) -> None:
    made = pieces(2, 10)
    session = asked.client.offer(asked.question, tree(list(made))).session_id
    name, content = next(iter(made.items()))
    assert [asked.client.push(asked.question, session, name, content) for _ in range(2)] == [
        True,
        True,
    ]


def test_an_object_that_never_came_is_not_there(asked: Asked) -> None:
    made = pieces(1, 10)
    session = asked.client.offer(asked.question, tree(list(made))).session_id
    ((name, content),) = made.items()
    assert not asked.client.push(asked.question, f"{session}x", name, content)


def test_a_reply_that_is_still_coming_is_hidden_from_the_server(asked: Asked) -> None:
    made = pieces(2, 10)
    session = asked.client.offer(asked.question, tree(list(made))).session_id
    (first, *_) = made.items()
    asked.push(session, *first)
    assert asked.replies() == []


# --- What a client confirms -----------------------------------------------------------------


def _confirms(client: Client, message: str, run: int) -> int:
    from fedsafe.flower.internals import ConfirmMessageReceivedRequest

    request = ConfirmMessageReceivedRequest(
        node=Node(node_id=client.node), run_id=run, message_object_id=message
    )
    return status_of(lambda: client.fleet.ConfirmMessageReceived(request))


def test_anothers_question_is_not_confirmed(link: Site, grid: Any, asked: Asked) -> None:
    other = Asked(link, grid)
    run = asked.question.metadata.run_id
    assert _confirms(other.client, asked.message, run) == 409


def test_a_reply_is_not_confirmed_by_a_client(asked: Asked) -> None:
    made = tree(list(pieces(1, 10)))
    asked.client.offer(asked.question, made)
    run = asked.question.metadata.run_id
    assert _confirms(asked.client, made.object_id, run) == 409


def test_a_question_that_was_not_confirmed_is_handed_out_again(link: Site, grid: Any) -> None:
    client = link.member()
    sent = ask(grid, client.node, "train", adapter(SIZE))
    assert [client.question().metadata.message_id for _ in range(2)] == [sent, sent]


def test_a_question_that_was_confirmed_and_left_is_lost(asked: Asked) -> None:
    asked.client.pull()
    (told,) = asked.replies()
    assert "asked for other work" in told.error.reason
    assert told.error.code != REFUSED


# --- Waiting for work -----------------------------------------------------------------------


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.monotonic()
    return call(), time.monotonic() - begun


def test_one_without_work_waits_and_hears_that_there_is_none(link: Site) -> None:
    client = link.member()
    answer, seconds = timed(client.pull)
    assert not answer.messages_list
    assert seconds >= HOLD


def test_work_that_is_there_is_handed_out_at_once(link: Site, grid: Any) -> None:
    client = link.member()
    ask(grid, client.node, "train", adapter(SIZE))
    answer, seconds = timed(client.pull)
    assert answer.messages_list
    assert seconds < HOLD


def test_one_who_waits_is_woken_by_its_work() -> None:
    with site(hold=20) as link:
        grid, client = link.grid(), link.member()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.pull)
            time.sleep(0.2)
            sent = ask(grid, client.node, "train", adapter(SIZE))
            found = waiting.result(10)
    assert [one.metadata.message_id for one in found.messages_list] == [sent]


def test_the_second_question_of_a_node_ends_the_first() -> None:
    with site(hold=20) as link:
        client = link.member()
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(status_of, client.pull)
            time.sleep(0.2)
            second = pool.submit(status_of, client.pull)
            assert first.result(10) == 409
            ask(link.grid(), client.node, "train", adapter(SIZE))
            assert second.result(10) == 200


def test_one_who_hangs_up_is_given_no_work() -> None:
    with site(hold=20) as link:
        node = 7
        guard = QuotaMiddleware(_unreached, quotas=quotas(link), nodes=_Heard(), hold=20)
        sent: list[Any] = []
        gone = threading.Event()

        async def receive() -> Any:
            await asyncio.sleep(0.05)
            gone.set()
            return {"type": "http.disconnect"}

        async def send(event: Any) -> None:
            sent.append(event)

        request = PullMessagesRequest(node=Node(node_id=node))
        scope = {"type": "http", "method": "POST", "path": "/v1/fleet/pull-messages",
                 "state": {"protobuf_request": request}}  # fmt: skip
        link.transport.run(guard(scope, receive, send))
    assert gone.is_set()
    assert sent[0]["status"] == 408


class _Heard:
    """A list of nodes that lets all of them be."""

    def alive(self, node: int) -> None: ...
    def waits(self, node: int) -> None: ...
    def gone(self, node: int) -> None: ...
    def back(self, key: bytes) -> None: ...
    def again(self, message: str) -> bool:
        return False


async def _unreached(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("it was passed on")


def test_one_who_asks_is_online(link: Site) -> None:
    client = link.member()
    client.pull()
    online = {one.node_id for one in link.state.get_node_info(statuses=["online"])}
    assert client.node in online


def test_one_who_asked_a_moment_ago_is_not_replaced(link: Site) -> None:
    client = link.member()
    client.pull()
    assert status_of(client.activate) >= 400


def test_one_that_was_quiet_may_come_back(link: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = link.member()
    client.pull()
    nodes = link.app.user_middleware[-1].kwargs["nodes"]
    monkeypatch.setattr(nodes, "_clock", lambda: time.monotonic() + QUIET + 1)
    assert status_of(client.activate) == 200


# --- What the server asks -------------------------------------------------------------------


def test_a_newer_question_of_its_kind_replaces_an_older_one(link: Site, grid: Any) -> None:
    client = link.member()
    before = len(quotas(link))
    old, new = (ask(grid, client.node, "train", adapter(SIZE, seed)) for seed in (1, 2))
    assert len(quotas(link)) == before + 1
    assert client.question().metadata.message_id == new
    assert old not in quotas(link)._questions


def test_a_question_of_another_kind_stands_beside_it(link: Site, grid: Any) -> None:
    client = link.member()
    before = len(quotas(link))
    for kind in ("train", "query"):
        ask(grid, client.node, kind, adapter(SIZE))
    assert len(quotas(link)) == before + 2


def test_objects_of_a_question_are_measured(link: Site, grid: Any) -> None:
    client = link.member()
    message = ask(grid, client.node, "train", adapter(SIZE))
    most = quotas(link).most_bytes(message)
    assert FACTOR * SIZE + SLACK_BYTES < most < FACTOR * SIZE * 1.2 + SLACK_BYTES


# --- A request that cannot be checked is not let by -------------------------------------------


def test_every_request_of_a_client_is_one_that_the_guard_knows() -> None:
    fleet = {path for _, path in translation.PROTOBUF_REQUEST_TYPES if "/v1/fleet/" in path}
    assert fleet == {path for path in GUARDED if "/v1/fleet/" in path}


def test_a_request_that_the_guard_does_not_know_is_refused(link: Site) -> None:
    with link.http() as http:
        found = http.post("/v1/fleet/push-messages-v2")
    assert (found.status_code, "does not know this request" in found.text) == (501, True)


@pytest.mark.parametrize("path", sorted(GUARDED))
def test_a_request_whose_message_flower_keeps_elsewhere_is_refused(path: str) -> None:
    """As after a rename upstream: the guard sees no message, and lets nothing by unchecked."""
    guard = QuotaMiddleware(_unreached, quotas=Quotas(lambda message: None), nodes=_Heard(), hold=0)

    async def post() -> int:
        async def renamed(scope: Any, receive: Any, send: Any) -> None:
            state = {"parsed_request": PullMessagesRequest(node=Node(node_id=7))}
            await guard({**scope, "state": state}, receive, send)

        transport = httpx.ASGITransport(renamed)
        async with httpx.AsyncClient(transport=transport, base_url="http://link") as client:
            return (await client.post(path)).status_code

    assert asyncio.run(post()) == 501


def test_an_answer_that_flower_keeps_elsewhere_is_not_sent() -> None:
    async def renamed(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["made_response"] = scope["state"].pop("protobuf_response", None)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    guard = QuotaMiddleware(renamed, quotas=Quotas(lambda message: None), nodes=_Heard(), hold=0)
    request = PullMessagesRequest(node=Node(node_id=7))
    scope = {"type": "http", "method": "POST", "path": "/v1/fleet/get-run",
             "state": {"protobuf_request": request}}  # fmt: skip
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    with pytest.raises(Exception, match="no protobuf message to check"):
        asyncio.run(guard(scope, None, send))  # type: ignore[arg-type]
    assert sent == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/fleet/get-run"), ("POST", "/v1/x")])
def test_what_needs_no_check_is_passed_on(method: str, path: str) -> None:
    reached = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    guard = QuotaMiddleware(inner, quotas=Quotas(lambda message: None), nodes=_Heard(), hold=0)
    asyncio.run(guard({"type": "http", "method": method, "path": path}, None, None))  # type: ignore[arg-type]
    assert reached == [path]


def test_flower_keeps_request_and_answer_where_the_guard_looks(link: Site) -> None:
    seen: list[Any] = []

    class Spy:
        def __init__(self, app: Any) -> None:
            self._app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def noting(event: Any) -> None:
                if event["type"] == "http.response.start":
                    seen.append((request_of(scope), answer_of(scope)))
                await send(event)

            await self._app(scope, receive, noting)

    with site() as made:
        from starlette.middleware import Middleware

        made.app.user_middleware.append(Middleware(Spy))
        made.member()
    names = [(type(a).__name__, type(b).__name__) for a, b in seen]
    assert ("ActivateNodeRequest", "ActivateNodeResponse") in names


def test_tree_of_a_message_is_flowers_own() -> None:
    assert tree(["a"]).children == [ObjectTree(object_id="a")]

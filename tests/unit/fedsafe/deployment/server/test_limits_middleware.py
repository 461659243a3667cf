"""The gate before the SuperLink: each limit on what is read, each refusal, by real ASGI calls."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest

from fedsafe.deployment.server import limits_middleware
from fedsafe.deployment.server.limits_middleware import (
    AT_ONCE,
    LIMITS,
    SMALL,
    TOKEN,
    LimitsMiddleware,
)

FLEET = "/v1/fleet/"
LIGHT = ("activate-node", "pull-messages", "send-node-heartbeat", "confirm-message-received")


class Behind:
    """The app behind the gate; it notes what it was given, and answers when it may."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.scopes: list[str] = []
        self.at_once = self.most = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope["type"])
        if scope["type"] != "http":
            return
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.bodies.append(body)
        await self.go.wait()
        self.at_once -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def gate(behind: Behind, ready: Callable[[], bool] = lambda: True) -> LimitsMiddleware:
    return LimitsMiddleware(behind, token="secret", ready=ready)


async def post(
    made: LimitsMiddleware, path: str, content: bytes | Iterable[bytes] = b"", **headers: str
) -> httpx.Response:
    async def parts() -> Any:
        for part in content:
            yield part

    body = content if isinstance(content, bytes) else parts()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(made), base_url="http://superlink"
    ) as client:
        return await client.post(path, content=body, headers=named)


def status(
    made: LimitsMiddleware, path: str, content: bytes | Iterable[bytes] = b"", **headers: str
) -> int:
    return asyncio.run(post(made, path, content, **headers)).status_code


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/health", "/v1", "/v1/fleet", "/v2/fleet/get-run"]
)
def test_paths_of_no_known_interface_are_closed(path: str) -> None:
    behind = Behind()
    assert (status(gate(behind), path), behind.bodies) == (403, [])


@pytest.mark.parametrize("headers", [{}, {"fedsafe_token": "wrong"}, {"fedsafe_token": ""}])
def test_control_interface_is_closed_without_the_token(headers: dict[str, str]) -> None:
    behind = Behind()
    found = status(gate(behind), "/v1/control/start-run", **headers)
    assert (found, behind.bodies) == (403, [])


def test_control_interface_is_open_with_the_token() -> None:
    assert TOKEN == "fedsafe-token"
    assert status(gate(Behind()), "/v1/control/start-run", b"x", fedsafe_token="secret") == 200


def test_control_interface_has_no_limit_for_who_has_the_token() -> None:
    behind = Behind()
    app = bytes(SMALL + 1)
    assert status(gate(behind), "/v1/control/start-run", app, fedsafe_token="secret") == 200


def test_runtime_interface_is_left_to_flowers_own_tokens() -> None:
    assert status(gate(Behind()), "/v1/runtime/push-object", b"x") == 200


def test_nothing_is_asked_of_what_is_no_request() -> None:
    behind = Behind()
    scope = {"type": "lifespan"}
    asyncio.run(gate(behind)(scope, None, None))  # type: ignore[arg-type]
    assert behind.scopes == ["lifespan"]


def test_clients_are_asked_to_wait_until_every_key_is_registered() -> None:
    left = [False, True]
    made = gate(Behind(), lambda: left.pop(0))
    assert [status(made, f"{FLEET}activate-node") for _ in range(2)] == [503, 200]


def test_others_do_not_wait_for_keys() -> None:
    made = gate(Behind(), lambda: False)
    assert status(made, "/v1/runtime/acquire-task") == 200
    assert status(made, "/v1/control/register-node", fedsafe_token="secret") == 200


@pytest.mark.parametrize("call", [*LIMITS, *LIGHT, "pull-object", "what-flower-has-next"])
def test_each_call_has_its_largest_body(call: str) -> None:
    most = LIMITS.get(call, SMALL)
    behind = Behind()
    made = gate(behind)
    assert status(made, FLEET + call, bytes(most)) == 200
    assert status(made, FLEET + call, bytes(most + 1)) == 413
    assert [len(body) for body in behind.bodies] == [most]


def test_body_in_pieces_is_counted_as_one() -> None:
    behind = Behind()
    made = gate(behind)
    pieces = [b"a" * 1000, b"b" * 1000]
    assert status(made, f"{FLEET}activate-node", pieces) == 200
    assert behind.bodies == [b"".join(pieces)]
    assert status(made, f"{FLEET}activate-node", [bytes(SMALL), b"1"]) == 413
    assert len(behind.bodies) == 1


def test_body_that_is_too_large_is_kept_nowhere() -> None:
    """What follows the first byte too many is read, so that the answer is heard, and dropped."""
    import tracemalloc

    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield bytes(SMALL)

    tracemalloc.start()
    assert status(gate(Behind()), f"{FLEET}activate-node", endless()) == 413
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * SMALL


def test_body_that_comes_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_middleware, "SECONDS", 0.05)
    behind = Behind()
    assert (_answer(gate(behind), "activate-node", _never), behind.bodies) == (413, [])


def test_body_of_one_who_hung_up_goes_no_further() -> None:
    messages = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return messages.pop(0)

    behind = Behind()
    assert (_answer(gate(behind), "push-object", receive), behind.bodies) == (413, [])


def test_end_of_the_connection_is_heard_behind_the_gate() -> None:
    messages = [
        {"type": "http.request", "body": b"all", "more_body": False},
        {"type": "http.disconnect"},
    ]
    heard = []

    async def receive() -> Any:
        return messages.pop(0)

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        heard.extend([await receive(), await receive()])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    made = LimitsMiddleware(inner, token="secret", ready=lambda: True)
    assert _answer(made, "pull-messages", receive) == 200
    assert [one["type"] for one in heard] == ["http.request", "http.disconnect"]


def _answer(made: LimitsMiddleware, call: str, receive: Any) -> int:
    """Return the status of the answer to a request whose body a test hands out itself."""
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {"type": "http", "path": FLEET + call, "method": "POST", "headers": []}
    asyncio.run(made(scope, receive, send))
    return int(sent[0]["status"])


async def _never() -> Any:
    await asyncio.sleep(60)


HEAVY = ("push-object", "push-messages", "pull-object")


@pytest.mark.parametrize("call", HEAVY)
def test_few_large_bodies_are_worked_on_at_a_time(call: str) -> None:
    async def crowd() -> int:
        behind = Behind()
        made = gate(behind)
        behind.go.clear()
        waiting = [asyncio.create_task(post(made, FLEET + call, b"x")) for _ in range(3 * AT_ONCE)]
        await asyncio.sleep(0.1)
        behind.go.set()
        assert {(await one).status_code for one in waiting} == {200}
        return behind.most

    assert asyncio.run(crowd()) == AT_ONCE


@pytest.mark.parametrize("call", LIGHT)
def test_small_requests_do_not_wait_for_large_ones(call: str) -> None:
    async def crowd() -> None:
        behind = Behind()
        made = gate(behind)
        behind.go.clear()
        large = [
            asyncio.create_task(post(made, f"{FLEET}push-object", b"x")) for _ in range(AT_ONCE)
        ]
        await asyncio.sleep(0.05)
        small = asyncio.create_task(post(made, FLEET + call, b"y"))
        await asyncio.sleep(0.05)
        assert behind.bodies[-1] == b"y"
        behind.go.set()
        await asyncio.gather(*large, small)

    asyncio.run(crowd())


def test_place_of_one_who_failed_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_middleware, "SECONDS", 0.01)

    async def crowd() -> int:
        made = gate(Behind())
        scope = {"type": "http", "path": f"{FLEET}push-object", "method": "POST", "headers": []}

        async def send(event: Any) -> None:
            del event

        for _ in range(2 * AT_ONCE):
            await made(dict(scope), _never, send)
        return (await post(made, f"{FLEET}push-object", b"x")).status_code

    assert asyncio.run(crowd()) == 200

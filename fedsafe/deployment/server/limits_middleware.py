"""ASGI middleware that limits request size and concurrency; the outermost one.

Lets requests in only whole, of a known kind and size, few large ones at a time, and to
the control interface only those of who started this SuperLink.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from fedsafe.deployment.server.admission import Admission, KeyStatus
from fedsafe.flower.internals import FLEET_HTTP_PUBLIC_KEY_HEADER

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FLEET, CONTROL, RUNTIME = "/v1/fleet/", "/v1/control/", "/v1/runtime/"
TOKEN = "fedsafe-token"
KEY_HEADER = FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode()
NOT_ALLOWED = 2004
"""Flower's code of the error that a node's key is not registered."""
SMALL = 64 * 1024
LIMITS = {"push-object": 8 * 1024**2, "push-messages": 4 * 1024**2}
"""Largest body of a request to the fleet API; of all others, SMALL."""
HEAVY = {*LIMITS, "pull-object"}
AT_ONCE = 8
"""Requests with large bodies, either way, that are worked on at the same time."""
SECONDS = 120.0
"""Longest time for a request's body."""


class LimitsMiddleware:
    """ASGI middleware: admits known requests of bounded size, few large ones at a time.

    Args:
        app: What stands behind it.
        token: What a request to the control interface has to show.
        ready: Returns whether clients may be let in at all.
        admission: Which of them may; None: all.
    """

    def __init__(
        self,
        app: App,
        *,
        token: str,
        ready: Callable[[], bool],
        admission: Admission | None = None,
    ) -> None:
        self._admission = admission
        self._app = app
        self._token = token
        self._ready = ready
        self._room = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = str(scope["path"])
        if path.startswith(FLEET):
            await self._fleet(path.removeprefix(FLEET), scope, receive, send)
        elif path.startswith(RUNTIME) or (path.startswith(CONTROL) and self._owner(scope)):
            await self._app(scope, receive, send)
        else:
            await refuse(403, "not for you", scope, receive, send)

    def _owner(self, scope: Scope) -> bool:
        """Return whether a request carries the SuperLink's access token."""
        given = dict(scope["headers"]).get(TOKEN.encode(), b"")
        return hmac.compare_digest(given, self._token.encode())

    async def _fleet(self, call: str, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._ready():  # a client whose key is not registered yet would give up for good
            await refuse(503, "starting", scope, receive, send)
            return
        header = dict(scope["headers"]).get(KEY_HEADER, b"")
        standing = KeyStatus.ADMITTED
        if self._admission is not None:
            standing = self._admission.standing(header)
        if standing is KeyStatus.STARTING:
            await refuse(503, "starting", scope, receive, send)
            return
        if standing is KeyStatus.EXCLUDED:
            answer = {"code": NOT_ALLOWED, "detail": standing.value}
            await JSONResponse(answer, 412)(scope, receive, send)
            return
        if self._admission is not None and call == "pull-messages":  # it may wait for long
            receive = _until(self._admission, header, receive)
        async with self._room if call in HEAVY else _Free():
            body = await _read(receive, LIMITS.get(call, SMALL))
            if body is None:
                await refuse(413, "too large, or too slow", scope, receive, send)
                return
            await self._app(scope, _replay(body, receive), send)


class _Free:
    """No-op async context manager, for requests that need no semaphore."""

    async def __aenter__(self) -> None:
        """Enter at once."""

    async def __aexit__(self, *_: object) -> None:
        """Leave."""


async def _read(receive: Receive, most: int) -> bytes | None:
    """Return a request's body; None, the rest of it unread into memory, if it is too much."""
    body, fits = bytearray(), True
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                body.extend(message.get("body", b""))
                if len(body) > most:
                    fits = False
                    body.clear()
                if not message.get("more_body", False):
                    return bytes(body) if fits else None
    except TimeoutError:
        return None


def _until(admission: Admission, header: bytes, receive: Receive) -> Receive:
    """Return a stream that ends, as if its caller hung up, when the caller's key is excluded."""

    async def receiving() -> MutableMapping[str, Any]:
        said = asyncio.ensure_future(receive())
        excluded = asyncio.ensure_future(admission.until_excluded(header))
        try:
            await asyncio.wait({said, excluded}, return_when=asyncio.FIRST_COMPLETED)
            return said.result() if said.done() else {"type": "http.disconnect"}
        finally:
            said.cancel()
            excluded.cancel()
            await asyncio.gather(said, excluded, return_exceptions=True)

    return receiving


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a stream that yields a body that was read already."""
    left: list[bytes] = [body]

    async def replay() -> MutableMapping[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return replay


async def refuse(status: int, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with an error, as Flower does."""
    await JSONResponse({"detail": detail}, status)(scope, receive, send)

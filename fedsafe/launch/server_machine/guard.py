"""Middleware of the SuperLink that keeps its memory bounded, whatever a client sends.

Two layers. The gate, outermost, limits what is read into memory at all. The guard,
innermost, where Flower has proven who is asking, keeps the ledger of what is kept.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from logging import WARNING
from typing import Any, Protocol

from flwr.common.logger import log
from starlette.responses import JSONResponse

from fedsafe.launch.server_machine.ledger import Ledger, Refused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FLEET, CONTROL, RUNTIME = "/v1/fleet/", "/v1/control/", "/v1/runtime/"
TOKEN = "fedsafe-token"
SMALL = 64 * 1024
LIMITS = {"push-object": 8 * 1024**2, "push-messages": 4 * 1024**2}
"""Largest body of a request to the fleet API; of all others, SMALL."""
HEAVY = {*LIMITS, "pull-object"}
AT_ONCE = 8
"""Requests with large bodies, either way, that are worked on at the same time."""
SECONDS = 120.0
"""Longest time for a request's body."""


class Gate:
    """Let requests in only whole, of a known kind and size, and few large ones at a time."""

    def __init__(self, app: App, *, token: str, ready: Callable[[], bool]) -> None:
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
            await _answer(403, "not for you", scope, receive, send)

    def _owner(self, scope: Scope) -> bool:
        """Return whether the one who asks started this SuperLink."""
        given = dict(scope["headers"]).get(TOKEN.encode(), b"")
        return hmac.compare_digest(given, self._token.encode())

    async def _fleet(self, call: str, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._ready():  # a client whose key is not registered yet would give up for good
            await _answer(503, "starting", scope, receive, send)
            return
        async with self._room if call in HEAVY else _Free():
            body = await _read(receive, LIMITS.get(call, SMALL))
            if body is None:
                await _answer(413, "too large, or too slow", scope, receive, send)
                return
            await self._app(scope, _replay(body, receive), send)


class _Free:
    """Where there is no queue."""

    async def __aenter__(self) -> None:
        """Enter at once."""

    async def __aexit__(self, *_: object) -> None:
        """Leave."""


class Nodes(Protocol):
    """The SuperLink's list of nodes."""

    def alive(self, node: int) -> None:
        """Count a node as online: it has just asked for work."""

    def back(self, key: bytes) -> None:
        """Let the node of a key in again, although its last session has not run out."""


class Guard:
    """Hold each client to what the ledger allows; the server's own messages open it."""

    def __init__(self, app: App, *, ledger: Ledger, nodes: Nodes) -> None:
        self._app = app
        self._ledger = ledger
        self._nodes = nodes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        request = scope.get("state", {}).get("protobuf_request")
        if request is None:
            await self._app(scope, receive, send)
            return
        path = str(scope["path"])
        try:
            self._before(path, request)
        except Refused as refusal:
            node = request.node.node_id
            log(WARNING, "Refused: node %s, %s: %s", node, path, refusal)
            await _answer(refusal.status, str(refusal), scope, receive, send)
            return
        await self._app(scope, receive, send)
        answer = scope["state"].get("protobuf_response")
        if answer is not None:
            self._after(path, request, answer)

    def _before(self, path: str, request: Any) -> None:
        """Check a client's request; note the server's."""
        ledger = self._ledger
        if path == f"{FLEET}push-messages":
            self._offer(request)
        elif path == f"{FLEET}push-object":
            ledger.piece(request.node.node_id, request.object_id, len(request.object_content))
        elif path == f"{FLEET}confirm-message-received":
            ledger.own(request.node.node_id, request.message_object_id)
        elif path == f"{FLEET}pull-messages":
            self._nodes.alive(request.node.node_id)
        elif path == f"{FLEET}activate-node":
            self._nodes.back(request.public_key)
        elif path == f"{RUNTIME}pull-messages":
            hidden = ledger.hidden(request.message_ids)
            if hidden:
                left = [one for one in request.message_ids if one not in hidden]
                del request.message_ids[:]
                request.message_ids.extend(left)

    def _offer(self, request: Any) -> None:
        """Check a reply that a client announces.

        Raises:
            Refused: It is not one reply of this very client's to the server.
        """
        if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
            raise Refused(413, "not one message with one tree of objects")
        if request.messages_list[0].ByteSize() > SMALL:  # what it says belongs into objects
            raise Refused(413, f"a message of more than {SMALL} bytes beside its objects")
        said, tree = request.messages_list[0].metadata, request.message_object_trees[0]
        node = request.node.node_id
        if said.src_node_id != node:  # Flower itself does not look
            raise Refused(409, f"a message that says it is from node {said.src_node_id}")
        if said.message_id != tree.object_id:
            raise Refused(409, "a message with another's tree of objects")
        self._ledger.offer(node, said.reply_to_message_id, said.message_id, objects(tree))

    def _after(self, path: str, request: Any, said: Any) -> None:
        """Note what has been kept."""
        ledger = self._ledger
        if path == f"{FLEET}push-messages":
            question = request.messages_list[0].metadata.reply_to_message_id
            ledger.accepted(question, said.objects_to_push)
        elif path == f"{FLEET}push-object" and said.stored:
            ledger.stored(request.node.node_id, request.object_id, len(request.object_content))
        elif path == f"{RUNTIME}push-messages":
            for message, tree in zip(
                request.messages_list, request.message_object_trees, strict=False
            ):
                meta = message.metadata
                expires = meta.created_at + meta.ttl
                asked = (meta.message_id, meta.dst_node_id, meta.message_type, expires)
                ledger.asked(*asked, objects(tree))
        elif path == f"{RUNTIME}push-object" and said.stored:
            ledger.sized(request.object_id, len(request.object_content))
        elif path == f"{RUNTIME}confirm-message-received":
            ledger.collected(request.message_object_id)


def objects(tree: Any) -> list[str]:
    """Return the objects of a tree, each as often as it occurs."""
    found, left = [], [tree]
    while left:
        one = left.pop()
        found.append(str(one.object_id))
        left.extend(one.children)
    return found


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


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a stream that yields a body that was read already."""
    left: list[bytes] = [body]

    async def replay() -> MutableMapping[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return replay


async def _answer(status: int, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"detail": detail}, status)(scope, receive, send)

"""ASGI middleware that enforces per-client quotas and long polling; the innermost one.

Holds each client to its quota, so that memory stays bounded whatever a client
sends; and lets a client that asks for work wait until there is some (long polling).
"""

import asyncio
from collections.abc import MutableMapping
from logging import ERROR, WARNING
from typing import Any, Protocol

from fedsafe.deployment.server.limits_middleware import (
    FLEET,
    RUNTIME,
    SMALL,
    App,
    Receive,
    Scope,
    Send,
    refuse,
)
from fedsafe.deployment.server.pending import NoReply, PendingMessage, QuotaExceeded
from fedsafe.deployment.server.protobuf import end_of, leave_out, objects
from fedsafe.deployment.server.quota import Quotas
from fedsafe.errors import LaunchError
from fedsafe.flower.internals import ObjectTree, log
from fedsafe.flower.requirements import GUARDED
from fedsafe.flower.superlink_hooks import answer_of, request_of


class NodeSessions(Protocol):
    """Node sessions in the SuperLink's state."""

    def alive(self, node: int) -> None:
        """Count a node as online: it has just asked for work."""

    def waits(self, node: int) -> None:
        """Count a node as online for as long as it waits for work."""

    def gone(self, node: int) -> None:
        """Note that a node hung up while it waited."""

    def back(self, key: bytes) -> None:
        """Let the node of a key in again, although its last session has not run out."""

    def again(self, message: str) -> bool:
        """Have a message handed out again, although it went out once; False: it is gone."""


UNKNOWN = "FedSafe does not know this request of Flower's and lets none by that it cannot check"


class QuotaMiddleware:
    """ASGI middleware: checks clients' requests against their quotas.

    Args:
        app: The inner ASGI app.
        quotas: Quotas of the pending messages.
        nodes: The SuperLink's list of nodes.
        hold: Longest time, seconds, for which a client that asks for work waits for an answer.
    """

    def __init__(self, app: App, *, quotas: Quotas, nodes: NodeSessions, hold: float) -> None:
        self._app = app
        self._quotas = quotas
        self._nodes = nodes
        self._hold = hold
        self._waiting_nodes: dict[int, asyncio.Event] = {}
        """Set when a message for a waiting node is ready, or it asks anew."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        path, request = str(scope.get("path", "")), request_of(scope)
        if not _checked(scope, path, request):
            log(ERROR, "Refused: %s %s: %s", scope["method"], path, UNKNOWN)
            await refuse(501, UNKNOWN, scope, receive, send)
            return
        if request is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._before(path, request, receive)
        except QuotaExceeded as refusal:
            node = request.node.node_id
            log(WARNING, "Refused: node %s, %s: %s", node, path, refusal)
            await refuse(refusal.status, str(refusal), scope, receive, send)
            return
        over = self._over(request) if path == f"{RUNTIME}pull-messages" else {}

        async def noting(event: MutableMapping[str, Any]) -> None:
            """Send on; what was kept is noted before anybody can build on it."""
            if event["type"] == "http.response.start":
                answer = answer_of(scope)
                if answer is None and event["status"] < 400:
                    raise LaunchError(f"POST {path}: the answer has no protobuf message to check.")
                if answer is not None:
                    self._after(path, request, answer)
                    for question, why in over.items():
                        answer.messages_list.append(end_of(question, why))
                        answer.message_object_trees.append(ObjectTree())
                    self._quotas.close(over)
            await send(event)

        await self._app(scope, receive, noting)

    # Before a request is worked on ------------------------------------------------------

    async def _before(self, path: str, request: Any, receive: Receive) -> None:
        """Check a request before the SuperLink handles it."""
        quotas = self._quotas
        if path == f"{FLEET}push-messages":
            self._offer(request)
        elif path == f"{FLEET}push-object":
            quotas.piece(request.node.node_id, request.object_id, len(request.object_content))
        elif path == f"{FLEET}confirm-message-received":
            quotas.own(request.node.node_id, request.message_object_id)
        elif path == f"{FLEET}pull-messages":
            await self._wait(request.node.node_id, receive)
        elif path == f"{FLEET}activate-node":
            self._nodes.back(request.public_key)
        elif path == f"{RUNTIME}pull-messages":
            leave_out(request, quotas.hidden(request.message_ids))

    def _offer(self, request: Any) -> None:
        """Check the announcement of a reply.

        Raises:
            QuotaExceeded: It is not one reply of this very client's to the server.
        """
        if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
            raise QuotaExceeded(413, "not one message with one tree of objects")
        if request.messages_list[0].ByteSize() > SMALL:  # what it says belongs into objects
            raise QuotaExceeded(413, f"a message of more than {SMALL} bytes beside its objects")
        said, tree = request.messages_list[0].metadata, request.message_object_trees[0]
        node = request.node.node_id
        if said.src_node_id != node:  # Flower itself does not look
            raise QuotaExceeded(409, f"a message that says it is from node {said.src_node_id}")
        if said.message_id != tree.object_id:
            raise QuotaExceeded(409, "a message with another's tree of objects")
        self._quotas.offer(node, said.reply_to_message_id, said.message_id, objects(tree))

    async def _wait(self, node: int, receive: Receive) -> None:
        """Long polling: wait until a message for the node is ready, or a timeout.

        Raises:
            QuotaExceeded: It hung up or asked anew meanwhile: nobody reads the answer, and no
                work is handed out.
        """
        if node in self._waiting_nodes:
            self._waiting_nodes.pop(node).set()
        self._quotas.close(
            one for one in self._quotas.asks(node) if not self._nodes.again(one)
        )  # the server was told of those that are gone
        if self._quotas.has_work(node):
            self._nodes.alive(node)
            return
        bell = self._waiting_nodes[node] = asyncio.Event()
        self._nodes.waits(node)
        rung, hung_up = asyncio.ensure_future(bell.wait()), asyncio.ensure_future(_end(receive))
        try:
            await asyncio.wait(
                {rung, hung_up}, timeout=self._hold, return_when=asyncio.FIRST_COMPLETED
            )
            if self._waiting_nodes.get(node) is not bell:
                raise QuotaExceeded(409, "it has asked again, and waits there")
            if hung_up.done():
                self._nodes.gone(node)
                raise QuotaExceeded(408, "it hung up while it waited for work")
            self._nodes.alive(node)
        finally:
            if self._waiting_nodes.get(node) is bell:
                del self._waiting_nodes[node]
            rung.cancel()
            hung_up.cancel()
            await asyncio.gather(rung, hung_up, return_exceptions=True)

    def _over(self, request: Any) -> dict[str, NoReply]:
        """Take the messages without a reply out of a server's pull, and return why."""
        over = self._quotas.over(request.message_ids)
        leave_out(request, set(over))
        return over

    # Before it is answered --------------------------------------------------------------

    def _after(self, path: str, request: Any, said: Any) -> None:
        """Update the quotas after the SuperLink has handled a request."""
        if path.startswith(FLEET):
            self._after_client(path.removeprefix(FLEET), request, said)
        elif path.startswith(RUNTIME):
            for node in self._after_server(path.removeprefix(RUNTIME), request, said):
                if node in self._waiting_nodes and self._quotas.has_work(node):
                    self._waiting_nodes[node].set()

    def _after_client(self, call: str, request: Any, said: Any) -> None:
        """Update the quotas after a client's request."""
        quotas = self._quotas
        if call == "push-messages":
            question = request.messages_list[0].metadata.reply_to_message_id
            quotas.accepted(question, said.objects_to_push)
        elif call == "push-object":
            node, one = request.node.node_id, request.object_id
            if said.stored:
                quotas.stored(node, one, len(request.object_content))
            else:  # sent once more, as the answer was lost: Flower says no, and it is there
                said.stored = quotas.has(node, one)
        elif call == "pull-messages":
            went = [message.metadata.message_id for message in said.messages_list]
            quotas.handed(request.node.node_id, went)
        elif call == "confirm-message-received":
            quotas.confirmed(request.message_object_id)

    def _after_server(self, call: str, request: Any, said: Any) -> set[int]:
        """Update the quotas after a server's request; return nodes with work to pull."""
        quotas, asked = self._quotas, set[int]()
        if call == "push-messages":
            sent = zip(
                request.messages_list, request.message_object_trees, said.message_ids, strict=False
            )
            for message, tree, taken in sent:
                if not taken:
                    continue
                meta = message.metadata
                expires, ids = meta.created_at + meta.ttl, objects(tree)
                missing = set(ids).intersection(said.objects_to_push)
                node, kind = meta.dst_node_id, meta.message_type
                quotas.asked(meta.message_id, PendingMessage(node, kind, expires, ids, missing))
                asked.add(node)
        elif call == "push-object" and said.stored:
            asked = quotas.sized(request.object_id, len(request.object_content))
        elif call == "confirm-message-received":
            quotas.collected(request.message_object_id)
        return asked


def _checked(scope: Scope, path: str, request: Any) -> bool:
    """Return whether a request is of a known kind, or needs no check.

    What is checked comes with its protobuf message, which Flower has parsed.
    """
    if scope["type"] != "http" or scope["method"] != "POST":
        return True  # Flower answers these with an error
    known = path in GUARDED
    return (known and request is not None) or not (known or path.startswith(FLEET))


async def _end(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass

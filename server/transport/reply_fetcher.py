"""Fetch replies from the SuperLink within size limits; a violation becomes an error reply.

Flower's own grid to separate machines waits up to two hours for what a client announced
and did not send, while everyone else waits too; holds all that it sent; builds an array
by repeating its pieces as often as the client's list says; takes sender and question
from the client's own words; and ends the server where any of it cannot be rebuilt. Here
a reply is looked for without waiting, measured before it is held, rebuilt within the
bounds, and its sender and question are those that the SuperLink has checked. Other grids
are asked as they are. Knows Flower's objects, and nothing of adapters.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from flwr.app import Error, Message, Metadata

from fedsafe.errors import LaunchError
from fedsafe.flower.grids import runtime_client
from fedsafe.flower.internals import (
    SUPERLINK_NODE_ID,
    ConfirmMessageReceivedRequest,
    ErrorCode,
    PullAppMessagesRequest,
    PullObjectRequest,
    inflate_object_from_contents,
    make_message,
)
from fedsafe.flower.task_messages import set_message_id
from fedsafe.messages import REFUSED
from server.memory_limit import bounded_growth
from server.transport.nodes import deployed
from server.transport.reply_limits import Bounds, RefusedError, check_tree, parts

OTHER_MEMORY = 2**26
"""Bytes that the process may grow by while a reply is rebuilt, for whatever else it does."""
COPIES = 4
"""Times a reply's largest size that rebuilding it may take: as objects, bodies, pieces, arrays."""


class LostError(RefusedError):
    """A part of a reply is gone."""


@dataclass
class _Coming:
    """A reply that the SuperLink has announced."""

    metadata: Any
    """As the SuperLink checked it."""
    tree: Any = None
    """Its objects, until they are counted."""
    error: RefusedError | None = None
    """The SuperLink's word that it will not come, and why."""
    parts: list[str] = field(default_factory=list)
    seen: int = 0
    """Parts that were there at the last look; they were measured and not kept."""
    bytes: int = 0


@dataclass
class ReplyFetcher:
    """Pulls replies from a grid within size limits."""

    grid: Any
    before: Callable[[str], None] = lambda _: None
    """Called with the id of the message that was answered, before its reply is rebuilt."""
    _bounded: bool = field(init=False)
    """Whether replies come off a network; else they are objects of this machine."""
    _coming: dict[str, _Coming] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look once at what kind of grid it is.

        Raises:
            LaunchError: It is of no known kind, or is a network grid without the client that
                replies are fetched with: none falls back to replies without bounds.
        """
        self._bounded = deployed(self.grid)
        if self._bounded:
            runtime_client(self.grid)

    def look(self, message_ids: Iterable[str]) -> bool:
        """Ask once which of the replies to messages there are; say whether that was possible.

        Raises:
            httpx.HTTPError: The SuperLink does not do its work.
            LaunchError: The installed flwr lacks what this builds on.
        """
        if not self._bounded:
            return False
        unknown = [one for one in message_ids if one not in self._coming]
        try:
            self._ask(unknown)
        except (httpx.HTTPError, LaunchError):
            raise
        except Exception:  # noqa: BLE001 - one by one it turns out whose reply it is
            return False
        return True

    def pull(
        self, message_id: str, node: int, limits: Bounds, *, looked: bool = False
    ) -> list[Message]:
        """Return the replies to a message that are wholly there: one, or none so far.

        Args:
            message_id: Of the message that was sent.
            node: To whom.
            limits: Of the answer.
            looked: Whether `look` has just asked which replies there are.

        Raises:
            httpx.HTTPError: The SuperLink does not do its work.
        """
        if not self._bounded:
            return list(self.grid.pull_messages([message_id]))
        try:
            if message_id not in self._coming and not looked:
                self._ask([message_id])
            return self._pull(message_id, limits)
        except (httpx.HTTPError, LaunchError):
            raise
        except LostError as error:
            code, reason = ErrorCode.MESSAGE_UNAVAILABLE, str(error)
        except RefusedError as error:
            code, reason = REFUSED, str(error)
        except MemoryError:
            allowed = _allowance(limits) >> 20
            code, reason = REFUSED, f"to rebuild it takes more than the {allowed} MiB it may take"
        except Exception as error:  # noqa: BLE001 - whatever a client sent, the server goes on
            code, reason = REFUSED, f"it cannot be rebuilt ({type(error).__name__})"
        return [self._refuse(message_id, node, code, reason)]

    def forget(self, message_id: str) -> None:
        """Wait no longer for the reply to a message; let the SuperLink forget it too."""
        coming = self._coming.pop(message_id, None)
        if coming is not None and coming.error is None:
            self._confirm(coming)

    def _pull(self, message_id: str, limits: Bounds) -> list[Message]:
        coming = self._coming.get(message_id)
        if coming is None:
            return []
        if coming.error is not None:
            raise coming.error
        if coming.tree is not None:
            coming.parts, coming.tree = list(parts(coming.tree, limits)), None
        known = coming.metadata
        with bounded_growth(_allowance(limits)):
            contents = self._contents(coming, limits)
            if contents is None:
                return []
            self.before(message_id)
            check_tree(known.message_id, contents, limits)
            found = inflate_object_from_contents(known.message_id, contents)
        if not isinstance(found, Message):
            raise RefusedError(f"it is no message ({type(found).__name__})")
        for which in ("reply_to_message_id", "src_node_id", "run_id"):
            if getattr(found.metadata, which) != getattr(known, which):
                raise RefusedError(f"it says another {which} inside than outside")
        if found.has_error() and found.error.code == REFUSED:  # our own word, and not a client's
            found = make_message(
                metadata=found.metadata,
                error=Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, found.error.reason),
            )
        set_message_id(found, known.message_id)
        self.forget(message_id)
        return [found]

    def _ask(self, message_ids: list[str]) -> None:
        """Ask the SuperLink for replies; it names each, with its parts, once."""
        if not message_ids:
            return
        request = PullAppMessagesRequest(message_ids=message_ids)
        response = runtime_client(self.grid).PullMessages(request)
        for proto, tree in zip(response.messages_list, response.message_object_trees, strict=True):
            known = proto.metadata
            if known.reply_to_message_id not in message_ids:
                continue
            coming = self._coming[known.reply_to_message_id] = _Coming(known, tree)
            if known.src_node_id == SUPERLINK_NODE_ID and not tree.object_id:
                kind = RefusedError if proto.error.code == REFUSED else LostError
                coming.error = kind(proto.error.reason)

    def _contents(self, coming: _Coming, limits: Bounds) -> dict[str, bytes] | None:
        """Return every part, or None while one is missing.

        A reply on a slow line is measured part by part as it comes and kept nowhere but at
        the SuperLink; the parts are held together only once all are there.
        """
        found: dict[str, bytes] = {}
        keep = coming.seen == 0
        for part in coming.parts[coming.seen :]:
            content = self._object(part)
            if content is None:
                return None
            coming.seen += 1
            coming.bytes += len(content)
            if coming.bytes > limits.bytes:
                raise RefusedError(f"it has more than the {limits.bytes} bytes expected at most")
            if keep:
                found[part] = content
        if keep:
            return found
        again = {part: self._object(part) for part in coming.parts}
        return {part: content for part, content in again.items() if content is not None}

    def _object(self, part: str) -> bytes | None:
        """Return a part, or None if it has not come yet."""
        request = PullObjectRequest(
            node=self.grid.node, run_id=self.grid.run.run_id, object_id=part
        )
        response = runtime_client(self.grid).PullObject(request)
        if not response.object_found:
            raise LostError("a part of it is gone")
        return bytes(response.object_content) if response.object_available else None

    def _confirm(self, coming: _Coming) -> None:
        """Let the SuperLink remove a reply's parts from its memory."""
        request = ConfirmMessageReceivedRequest(
            node=self.grid.node,
            run_id=self.grid.run.run_id,
            message_object_id=coming.metadata.message_id,
        )
        with suppress(httpx.HTTPError):  # it removes them at the end of the run
            runtime_client(self.grid).ConfirmMessageReceived(request)

    def _refuse(self, message_id: str, node: int, code: int, reason: str) -> Message:
        """Return an error in place of a reply."""
        self.forget(message_id)
        metadata = Metadata(
            run_id=self.grid.run.run_id,
            message_id="",
            src_node_id=node,
            dst_node_id=SUPERLINK_NODE_ID,
            reply_to_message_id=message_id,
            group_id="",
            created_at=0.0,
            ttl=0.0,
            message_type="train",
        )
        return make_message(metadata=metadata, error=Error(code, f"refused: {reason}"))


def _allowance(limits: Bounds) -> int:
    """Return the bytes that the process may grow by while a reply is fetched and rebuilt."""
    return COPIES * limits.bytes + OTHER_MEMORY

"""Admission of client keys to the SuperLink, by an allow list that may change.

Knows nothing of HTTP; Flower itself proves that a key is its caller's.
"""

import asyncio
import contextlib
from base64 import b64decode
from binascii import Error
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from fedsafe.app import activate

Listed = Callable[[], frozenset[bytes]]
"""Returns the keys that may join at this moment, PEM."""
LOOK_SECONDS = 1.0
"""Between two looks at the allow list."""


class KeyStatus(Enum):
    """Status of a client's key."""

    ADMITTED = "admitted"
    STARTING = "not registered at the SuperLink yet"
    EXCLUDED = "not on the allow list, or revoked"


class Admission:
    """Allow list of one SuperLink, reread when it changes; not thread-safe.

    Args:
        listed: Returns the keys that may join, PEM; called often.
        registered: Returns whether a key is registered at the SuperLink.
        dismiss: Ends the session of a key's node.
    """

    def __init__(
        self,
        listed: Listed,
        registered: Callable[[bytes], bool],
        dismiss: Callable[[bytes], None],
    ) -> None:
        self._listed, self._registered, self._dismiss = listed, registered, dismiss
        self._keys = listed()
        self._known: set[bytes] = set()
        self._ended: dict[bytes, asyncio.Event] = {}
        self._watch: asyncio.Task[None] | None = None

    def standing(self, header: bytes) -> KeyStatus:
        """Return the status of the key in a request's header.

        A request without a key is Flower's own to refuse.
        """
        self.follow()
        key = decode(header)
        if not key:
            return KeyStatus.ADMITTED
        if key not in self._keys:
            return KeyStatus.EXCLUDED
        if key not in self._known and not self._registered(key):
            return KeyStatus.STARTING
        self._known.add(key)
        return KeyStatus.ADMITTED

    async def until_excluded(self, header: bytes) -> None:
        """Wait until the key in a request's header is excluded."""
        await self._ended.setdefault(decode(header), asyncio.Event()).wait()

    def look(self) -> None:
        """Reread the allow list; end the sessions of keys that were removed."""
        before, self._keys = self._keys, self._listed()
        for key in before - self._keys:
            self._dismiss(key)
            if (ended := self._ended.pop(key, None)) is not None:
                ended.set()

    def follow(self) -> None:
        """Start rereading the allow list periodically; needs a running event loop."""
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)


def follow_list(allow: str) -> Listed | None:
    """Return what follows an allow list on disk, revoked keys left out; None without one.

    Raises:
        ConfigError: It cannot be read.
    """
    if not allow:
        return None
    activate()
    from server.transport.allowlist import AllowList

    keys = AllowList(Path(allow))
    return lambda: frozenset(one.key for one in keys.read() if not one.revoked)


def decode(header: bytes) -> bytes:
    """Return the public key in a request's header; empty: there is none."""
    with contextlib.suppress(Error, ValueError):
        return b64decode(header)
    return b""

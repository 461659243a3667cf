"""Callers of a front who are slow, or silent, each in a way of its own.

Callers hardly read: that it was hung up on shows in the state of its connection.
"""

import contextlib
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER

ESTABLISHED = 1
"""The first byte of TCP_INFO, while neither side has hung up."""
PAUSE = 0.25
"""Seconds between two bytes of one who sends them singly."""
SENDING = 6.0
"""Seconds for which a slow body goes on."""


@dataclass
class Caller:
    """One connection, and what it sends byte by byte."""

    kind: str
    socket: Any
    rest: bytes = b""
    begun: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    """How long it stood, once the front has hung up."""

    def step(self) -> None:
        """Send the next byte, and see whether the front is still there."""
        if self.seconds is not None:
            return
        if self.rest:
            with contextlib.suppress(OSError):  # seen below
                self.socket.send(self.rest[:1])
            self.rest = self.rest[1:]
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        if info[0] != ESTABLISHED:
            self.seconds = time.monotonic() - self.begun


@dataclass(frozen=True)
class Door:
    """A front as strangers and members find it."""

    host: str
    port: int
    key: bytes = b""
    """A member's public key."""
    pull: Callable[[], bytes] = bytes
    """Makes that member's request for a large object."""

    def silent(self) -> Caller:
        """Connect, and say nothing."""
        return Caller("silent", self._plain())

    def hello(self) -> Caller:
        """Begin a handshake byte by byte."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = _context().wrap_bio(incoming, outgoing, server_hostname=self.host)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return Caller("slow handshake", self._plain(), outgoing.read())

    def mute(self) -> Caller:
        """Shake hands, and say nothing."""
        return Caller("silent after the handshake", self._tls())

    def header(self) -> Caller:
        """Send the head of a request byte by byte."""
        return Caller("slow header", self._tls(), self._head("pull-messages", 0))

    def body(self) -> Caller:
        """Send a request's body byte by byte, and stop before its end."""
        tls = self._tls()
        tls.send(self._head("push-object", 4_000_000))
        return Caller("slow body", tls, bytes(round(SENDING / PAUSE)))

    def promise(self) -> Caller:
        """Announce a body, and send nothing of it."""
        tls = self._tls()
        tls.send(self._head("push-object", 4_000_000))
        return Caller("no body", tls)

    def deaf(self) -> Caller:
        """Ask for a large object, and read no more than its first words."""
        tls = self._tls()
        tls.send(self.pull())
        assert tls.recv(15) == b"HTTP/1.1 200 OK"
        return Caller("unread answer", tls)

    def stranger(self) -> Caller:
        """Send a request's body byte by byte, and hold no key."""
        tls = self._tls()
        tls.send(Door(self.host, self.port)._head("push-object", 4_000_000))
        assert tls.recv(12) == b"HTTP/1.1 401"
        return Caller("slow stranger", tls, bytes(1000))

    def idle(self) -> Caller:
        """Ask one thing, and nothing more; as many clients do between two questions."""
        tls = self._tls()
        tls.send(self._head("no-such-call", 0))
        return Caller("idle", tls)

    @property
    def kinds(self) -> "tuple[Callable[[], Caller], ...]":
        """Return all of them."""
        return (self.silent, self.hello, self.mute, self.header, self.body, self.promise,
                self.deaf, self.stranger, self.idle)  # fmt: skip

    def _plain(self) -> socket.socket:
        caller = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        caller.settimeout(10)
        caller.connect((self.host, self.port))
        return caller

    def _tls(self) -> ssl.SSLSocket:
        return _context().wrap_socket(self._plain(), server_hostname=self.host)

    def _head(self, call: str, length: int) -> bytes:
        lines = [f"POST /v1/fleet/{call} HTTP/1.1", "Host: front", f"Content-Length: {length}",
                 "Content-Type: application/protobuf"]  # fmt: skip
        if self.key:
            lines.append(f"{FLEET_HTTP_PUBLIC_KEY_HEADER}: {b64encode(self.key).decode()}")
        return "\r\n".join([*lines, "", ""]).encode()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Crowd:
    """Callers that are at it, in a thread of their own."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for caller in self.callers:
            caller.socket.close()

    @property
    def left(self) -> list[str]:
        """The kinds that the front has not hung up on, each as often as it is there."""
        return [caller.kind for caller in self.callers if caller.seconds is None]

    def longest(self) -> dict[str, float]:
        """Return how long the most patient of each kind stood."""
        found: dict[str, float] = {}
        for caller in self.callers:
            found[caller.kind] = max(found.get(caller.kind, 0.0), caller.seconds or float("inf"))
        return found

    def _work(self) -> None:
        while not self._stop.wait(PAUSE):
            for caller in list(self.callers):
                caller.step()

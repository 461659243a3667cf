"""Run Flower's SuperLink with bounded memory; its argument is the path of its settings.

The same program as ``flower-superlink``, with the guard in it, a token before its control
interface, nodes that keep their id over a restart, and a wall at the end of its memory.
"""

import hashlib
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware

from fedsafe.deployment.child_processes import limit_memory, memory_of_machine
from fedsafe.deployment.server.admission import Admission, Listed, follow_list
from fedsafe.deployment.server.limits_middleware import LimitsMiddleware
from fedsafe.deployment.server.quota import Quotas
from fedsafe.deployment.server.quota_middleware import QuotaMiddleware
from fedsafe.deployment.server.status import keep_nodes
from fedsafe.flower import superlink_hooks
from fedsafe.flower.compatibility import check
from fedsafe.flower.internals import FLOWER_LOGGER, flower_superlink
from fedsafe.runs.files import write_json

INTERVAL = 30.0
"""Seconds between two heartbeats of a SuperNode."""
QUIET = 5.0
"""Seconds without a question after which a node may be gone; Flower's own ask every 3."""


@dataclass(frozen=True)
class Settings:
    """Settings of one SuperLink process; written with mode 0600, as they hold the token."""

    host: str
    port: int
    token: str
    """What the control interface asks for."""
    secret: str
    """File with what the ServerApp's launcher proves itself with."""
    tls: str = ""
    """Directory of ca.crt, server.crt and server.key; empty: no TLS."""
    allow: str = ""
    """Allow list; empty: every node may join."""
    memory: int = 0
    """Bytes that the process may allocate; 0: half of the machine's memory."""
    nodes: str = ""
    """File that says who was heard of when, for `fedsafe status`; empty: none."""
    hold: float = 20.0
    """Longest wait, seconds, of a node that asks for work; its own patience is 30."""

    def write(self, path: Path) -> None:
        """Write them to a file."""
        path.touch(mode=0o600)
        write_json(path, asdict(self))
        path.chmod(0o600)

    def command(self) -> list[str]:
        """Return Flower's own command line for them."""
        plain = ["flower-superlink", "--host", self.host, "--port", str(self.port)]
        plain += ["--isolation", "process", "--superexec-auth-secret-file", self.secret]
        plain += ["--disable-runtime-dependency-installation"]
        if not self.tls:
            return [*plain, "--insecure"]
        home = Path(self.tls)
        plain += ["--ssl-ca-certfile", str(home / "ca.crt")]
        plain += ["--ssl-certfile", str(home / "server.crt")]
        plain += ["--ssl-keyfile", str(home / "server.key")]
        return [*plain, "--enable-supernode-auth"] if self.allow else plain


def main(settings: Settings) -> None:
    """Run the SuperLink until a signal.

    Raises:
        LaunchError: The installed flwr lacks what the guard builds on.
    """
    check("superlink")
    limit_memory(settings.memory or memory_of_machine() // 2)
    listed = follow_list(settings.allow)
    superlink_hooks.derive_node_ids(node_id)
    _install(settings, listed)
    # Every poll is a line otherwise: of a node to the one, of our own to the other.
    logging.getLogger("uvicorn.access").addFilter(lambda record: record.levelno > logging.INFO)
    FLOWER_LOGGER.addFilter(lambda record: "ListRuns" not in str(record.msg))
    sys.argv = settings.command()
    flower_superlink()


def _install(settings: Settings, listed: Listed | None) -> None:
    """Install the limits and quota middleware in the SuperLink's FastAPI app."""

    def configure(app: Any) -> None:
        state = superlink_hooks.link_state(app)

        def release(message: str) -> None:
            """Forget a question or a reply, and its objects."""
            state.delete_messages({message})
            state.object_store.delete(message)

        quotas = Quotas(release)
        ready = _ready(state.get_node_id_by_public_key, listed() if listed else frozenset())
        nodes = SuperLinkNodes(state)
        if settings.nodes:
            keep_nodes(Path(settings.nodes), nodes.seen)
        admission = None if listed is None else Admission(listed, nodes.registered, nodes.dismiss)
        gate = Middleware(LimitsMiddleware, token=settings.token, ready=ready, admission=admission)
        app.user_middleware.insert(0, gate)
        guard = Middleware(QuotaMiddleware, quotas=quotas, nodes=nodes, hold=settings.hold)
        app.user_middleware.append(guard)

    superlink_hooks.on_app_created(configure)


def _ready(node_of: Callable[[bytes], int | None], keys: frozenset[bytes]) -> Callable[[], bool]:
    """Return a function that tells whether every allowed key is registered."""
    left = set(keys)

    def ready() -> bool:
        left.difference_update([key for key in left if node_of(key) is not None])
        return not left

    return ready


class SuperLinkNodes:
    """Node sessions in the SuperLink's state: online while they pull, not by heartbeat alone."""

    def __init__(self, state: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._seen: dict[int, float] = {}
        """When each was heard of last; infinity for one that waits."""

    def alive(self, node: int) -> None:
        """Count a node as online: after a restart it is unknown until its next heartbeat."""
        self._seen[node] = self._clock()
        self._state.acknowledge_node_heartbeat(node, INTERVAL)

    def waits(self, node: int) -> None:
        """Count a node as online for as long as it waits for work."""
        self.alive(node)
        self._seen[node] = math.inf

    def gone(self, node: int) -> None:
        """Note that a node hung up while it waited: it may come back at once."""
        self._seen.pop(node, None)

    def again(self, message: str) -> bool:
        """Have a message handed out again; Flower hands each out once, heard or not.

        Returns:
            Whether it is there still.
        """
        return superlink_hooks.hand_out_again(self._state, message)

    def seen(self) -> dict[str, dict[str, Any]]:
        """Return of every node, by its key's sha256: whether it is online, when it was seen."""
        lag, found = time.time() - self._clock(), {}
        for node in self._state.get_node_info():
            when = self._seen.get(node.node_id)
            online = node.status == "online"
            heard = None if when is None else when + lag
            if when == math.inf or (online and heard is None):
                heard = time.time()
            key = hashlib.sha256(node.public_key).hexdigest()
            found[key] = {"online": online, "seen": heard}
        return found

    def registered(self, key: bytes) -> bool:
        """Return whether a key's node is known."""
        return self._state.get_node_id_by_public_key(key) is not None

    def dismiss(self, key: bytes) -> None:
        """End the session of a node whose key was revoked: the server sees it go offline."""
        node = self._state.get_node_id_by_public_key(key)
        if node is not None:
            self._seen.pop(node, None)
            self._state.deactivate_node(node)

    def back(self, key: bytes) -> None:
        """End the session of a node that was killed; Flower would wait until it runs out.

        One that asked for work a moment ago, or waits for it, is alive, and a second one
        with its key is not let in beside it. One that is at work asks for nothing: whoever
        has its key may come in its place.
        """
        node = self._state.get_node_id_by_public_key(key)
        if node is not None and self._clock() - self._seen.get(node, -math.inf) > QUIET:
            self._state.deactivate_node(node)


def node_id(key: bytes) -> int:
    """Return the id of the node with a public key, as Flower's are: 64 bits, neither 0 nor 1.

    Flower draws ids anew at each registration; a SuperNode with an id that is no longer known
    shuts down, so an id has to outlive the SuperLink's process.
    """
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "little") | 2


def read(path: Path) -> Settings:
    """Read settings that were written."""
    import json

    found: Mapping[str, Any] = json.loads(path.read_text())
    return Settings(**found)


if __name__ == "__main__":
    main(read(Path(sys.argv[1])))

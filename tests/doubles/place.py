"""A server's machine: a SuperLink with keys and its guard, fronts before it, no app in it."""

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http

from fedsafe.deployment.child_processes import Child, wait_until
from fedsafe.deployment.server import certs
from fedsafe.deployment.server.control import Control
from fedsafe.deployment.server.nginx import Nginx, Timeouts
from fedsafe.deployment.server.superlink import Settings
from fedsafe.flower.environment import environment, free_port
from server.transport.allowlist import read_allow
from tests.doubles.deployment import Client, serve

SECRET = b"launcher's secret"
SUPERLINK = "fedsafe.deployment.server.superlink"


@dataclass
class Place:
    """One server machine."""

    home: Path
    link: Child
    control: Control
    inner: str
    """Where the SuperLink listens."""
    outer: str = ""
    """Where the front opened last listens."""
    secret: bytes = SECRET
    clients: list[Client] = field(default_factory=list)
    members: dict[int, Client] = field(default_factory=dict)
    fronts: list[Child] = field(default_factory=list)

    @property
    def ca(self) -> Path:
        return self.home / "certs" / certs.CA

    def open_front(self, host: str = "127.0.0.1", patience: Timeouts | None = None) -> Child:
        """Let clients in, at an address of this machine."""
        number, port = len(self.fronts), free_port()
        state = self.home / f"state{number}"
        self.outer = f"{host}:{port}"
        made = self.home / "certs"
        keys = tuple(one.key for one in read_allow(made / certs.ALLOW))
        front = Nginx(self.outer, self.inner, state, state / "logs", made, self.home / "inside",
                      keys, patience=patience or Timeouts()).child()  # fmt: skip
        self.fronts.append(front)
        front.start()
        assert wait_until(lambda: _listens(host, port), 10), front.last_log_line()
        return front

    def register(self) -> None:
        keys = read_allow(self.home / "certs" / certs.ALLOW)
        self.control.register((one.name, one.key) for one in keys)

    def client(self, number: int) -> Client:
        return self.connect(self.home / "certs" / "keys" / f"node{number}")

    def member(self, number: int) -> Client:
        """A client that is online."""
        if number not in self.members:
            self.members[number] = self.client(number)
            self.members[number].activate()
        return self.members[number]

    def connect(self, private: Any, ca: Path | None = None) -> Client:
        self.clients.append(Client.connect(self.outer, ca or self.ca, private))
        return self.clients[-1]

    def memory(self) -> int:
        return int(psutil.Process(self.link.pid).memory_info().rss)

    @contextmanager
    def run(self) -> Iterator[Any]:
        """Submit a run, and yield the grid of its server."""
        self.control.submit({"experiment": "micro", "output": "", "allow": ""})
        grid = serve(self.inner, (self.home / "inside" / certs.CA).read_bytes(), self.secret)
        beat = HeartbeatSender(make_task_heartbeat_fn_http(grid._runtime_client))
        beat.start()
        yield grid
        beat.stop()
        grid.close()

    def close(self) -> None:
        for client in self.clients:
            client.fleet.close()
        self.control.close()
        for child in (*self.fronts, self.link):
            child.kill()


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


@contextmanager
def server_machine(
    home: Path, hosts: Sequence[str] = ("127.0.0.1",), hold: float = 0.5
) -> Iterator[Place]:
    """Start a SuperLink that knows eight keys; the caller opens fronts.

    Args:
        home: Directory for its files.
        hosts: What its certificate is valid for.
        hold: How long it lets a client wait for work; most tests' clients ask in vain, too.
    """
    made, inside = home / "certs", home / "inside"
    certs.init(made, list(hosts), clients=8, days=1)
    certs.write_loopback(inside)
    inner = free_port()
    (home / "secret").write_bytes(SECRET)
    settings = home / "superlink.json"
    Settings(
        "127.0.0.1", inner, "token", str(home / "secret"), str(inside), str(made / "allow"),
        hold=hold,
    ).write(settings)  # fmt: skip
    link = Child(
        "the SuperLink",
        [sys.executable, "-m", SUPERLINK, str(settings)],
        log=home / "superlink.log",
        env=environment(home / "flower"),
    )
    control = Control(f"127.0.0.1:{inner}", "token", inside / certs.CA)
    place = Place(home, link, control, f"127.0.0.1:{inner}")
    try:
        link.start()
        assert wait_until(control.ready, 60), link.last_log_line()
        place.register()
        yield place
    finally:
        place.close()

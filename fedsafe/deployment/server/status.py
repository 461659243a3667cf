"""Status of a run and its clients, read from the run directory.

Works while it runs, after it ended and after it was killed. Reads only.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsafe.app import activate
from fedsafe.deployment.server import certs
from fedsafe.errors import ConfigError, RunError
from fedsafe.runs.files import private_directory, read_lines, write_json
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Member, Round
from fedsafe.runs.run_list import is_locked, is_running
from fedsafe.runs.store import FederationStore, Store

WRITE_SECONDS = 5.0
"""Between two times that the file of nodes is written."""
NODES = "nodes.json"
"""In a server's own directory: who was heard of when, as its SuperLink says."""
SERVER = "server.json"
"""In the same: where it listens, which certificate and keys it has."""


@dataclass
class ClientStatus:
    """Status of one client of a run."""

    client: int
    name: str = ""
    connected: bool | None = None
    """Whether it is online; None: nobody knows, as in a run that has ended."""
    seen: float | None = None
    """When it was heard of last, seconds since the epoch."""
    revoked: bool = False
    behaviour: str | None = None
    """What it does as a declared attacker."""
    replies: dict[str, int] = field(default_factory=dict)
    """Rounds by how they ended for it: accepted, dropped, failed, missing."""
    last: str = ""
    """How its last round ended, with the reason if its reply did not count."""


@dataclass
class RunStatus:
    """Status of one run."""

    directory: Path
    state: str
    """running, completed, failed, interrupted or stopped (killed without a word)."""
    reason: str = ""
    address: str = ""
    """Where its server listens; empty: it has none, or does not run."""
    stage: str = ""
    federation: str = ""
    round: int = 0
    """Round under way, or the last one that ended."""
    rounds: int = 0
    waiting: list[int] = field(default_factory=list)
    """Clients whose replies the round still waits for."""
    clients: list[ClientStatus] = field(default_factory=list)
    certificate_days: int | None = None
    """Days until the server's certificate ends."""
    round_seconds: float | None = None
    """Time that the last complete round took."""

    @property
    def connected(self) -> int:
        """Number of clients that are online."""
        return sum(one.connected is True for one in self.clients)


def read_status(directory: Path) -> RunStatus:
    """Read the status of a run.

    Raises:
        RunError: The directory holds no run, or a record cannot be read.
    """
    activate()
    store = Store(directory)
    state = directory / ".server"
    running = is_running(directory)
    summary, server = store.summary(), _json(state / SERVER)
    status = RunStatus(directory, "running" if running else "stopped")
    if summary is not None and not (running and summary.status in {"interrupted", "failed"}):
        status.reason = summary.reason
        if not running and summary.status != "running":
            status.state = summary.status
    elif summary is None and running and not (directory / RunFile.EXPERIMENT).is_file():
        status.stage = "starting"
        return status
    status.address = str(server.get("address", "")) if running else ""
    if running and server.get("tls"):
        with suppress(ConfigError):
            status.certificate_days = certs.check(Path(server["tls"])).days
    _progress(status, store, running=running)
    _clients(status, store, server, running=running)
    return status


def _progress(status: RunStatus, store: Store, *, running: bool) -> None:
    """Enter stage, round, and whom it waits for."""
    from server.progress_file import FILE
    from server.sampling import cohort

    experiment = store.experiment
    known = _json(store.directory / FILE)
    status.stage = str(known.get("stage", ""))
    status.federation = str(known.get("federation", ""))
    federation: FederationStore = store.control if status.federation == "control" else store
    done = federation.rounds()
    status.rounds = experiment.federation.rounds
    status.round = int(known.get("round", done[-1].round if done else 0))
    status.round_seconds = done[-1].seconds if done else None
    if running and "answered" in known:
        answered = set(known["answered"])
        status.waiting = [n for n in cohort(experiment, status.round) if n not in answered]


def _clients(status: RunStatus, store: Store, server: dict[str, Any], *, running: bool) -> None:
    """Enter every client, by number."""
    from server.transport.allowlist import read_allow
    from server.transport.key_numbers import KeyNumbers, fingerprint

    members = {member.client: member for member in store.members()}
    nodes = _json(store.directory / ".server" / NODES)
    keys: dict[int, tuple[str, str, bool]] = {n: (m.key, m.name, False) for n, m in members.items()}
    if server.get("allow"):
        with suppress(ConfigError):
            for one in KeyNumbers(store).assign(read_allow(Path(server["allow"]))):
                keys[one.number] = (fingerprint(one.key), one.name, one.revoked)
    records = [*store.control.rounds(), *store.rounds()]
    for number in range(store.experiment.federation.clients):
        key, name, revoked = keys.get(number, ("", "", False))
        node = nodes.get(key, {})
        client = _client(number, records, members.get(number))
        client.name, client.revoked = name, revoked
        client.seen = node.get("seen")
        client.connected = bool(node.get("online")) if running and nodes else None
        status.clients.append(client)
    if running and nodes and not status.round:  # the roll call before the first round
        away = [one for one in status.clients if not (one.connected or one.revoked)]
        status.waiting = [one.client for one in away]


def _client(number: int, records: list[Round], member: Member | None) -> ClientStatus:
    client = ClientStatus(number, behaviour=None if member is None else member.behaviour)
    for record in records:
        for one in record.clients:
            if one.client == number:
                client.replies[one.status] = client.replies.get(one.status, 0) + 1
                client.last = f"{one.status}: {one.reason}" if one.reason else one.status
    return client


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def keep_nodes(path: Path, seen: Callable[[], dict[str, Any]]) -> None:
    """Write the nodes' status to a file every few seconds, from a background thread."""

    def keep() -> None:
        while True:
            with suppress(RunError, OSError):
                write_json(path, seen())
            time.sleep(WRITE_SECONDS)

    threading.Thread(target=keep, daemon=True).start()


# Servers of this user --------------------------------------------------------------------


def _registry() -> Path:
    return Path.home() / ".fedsafe" / "servers.jsonl"


def enter(directory: Path, address: str, tls: Path | None, allow: Path | None) -> None:
    """Register a running server on this machine, for `servers` and `read_status`."""
    write_json(
        directory / ".server" / SERVER,
        {
            "address": address,
            "tls": str(tls or ""),
            "allow": str(allow or ""),
            "since": time.time(),
        },
    )
    with suppress(OSError):  # a home that cannot be written is no obstacle
        path = _registry()
        known = [row for row in read_lines(path) if Path(row["directory"]).is_dir()]
        rows = [row for row in known if row["directory"] != str(directory)]
        text = "".join(f"{json.dumps(row)}\n" for row in [*rows, {"directory": str(directory)}])
        private_directory(path.parent)
        path.write_text(text, encoding="utf-8")


def servers() -> list[Path]:
    """Return the run directories of this user's servers that run on this machine."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        directories = [Path(row["directory"]) for row in read_lines(_registry())]
        return [one for one in directories if is_locked(one / ".server" / "lock")]
    return []

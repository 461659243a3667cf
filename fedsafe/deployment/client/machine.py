"""Run `fedsafe client`: check options, write node configs, start and supervise processes.

Nothing that it starts outlives it, however it ends.
"""

import contextlib
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from fedsafe.app import activate
from fedsafe.deployment.child_processes import Child
from fedsafe.deployment.client import connectivity, state_dir
from fedsafe.deployment.client.identity import Address, Identity
from fedsafe.deployment.client.log_events import Tell
from fedsafe.deployment.client.supernode import Settings
from fedsafe.deployment.client.supervisor import NodeProcess, Supervisor
from fedsafe.errors import LaunchError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.flower.compatibility import check
from fedsafe.flower.environment import environment
from fedsafe.runs.events import Events, Listener

LARGEST_LOG = 16 * 1024**2
"""Bytes of a log above which it is put aside at the next start."""


@dataclass(frozen=True)
class ClientOptions:
    """Options of `fedsafe client`, each already validated by itself."""

    server: Address
    authority: Path | None
    """Certificate that the server is checked by; None: no TLS."""
    identities: tuple[Identity, ...]
    state: Path
    """Directory of all clients' directories."""
    data: tuple[PluginChoice, ...] = ()
    """The clients' own data, one each; none: the experiment's."""
    model: str | None = None
    start_adapter: str | None = None
    """Directory of the adapter that the federation merges into the base weights."""
    device: str | None = None
    gpu: str | None = None
    """Which of the machine's GPUs the trainer sees; None: all of them."""
    rank: int | None = None
    """Rank of these clients' own adapters; None: what the experiment says."""
    trainer: Path | None = None
    """Socket of a trainer that another one keeps; None: a trainer of its own."""
    behaviour: PluginChoice | None = None
    """What the clients do as declared attackers; None: they are honest."""
    contaminated: bool = False
    """Whether malicious examples may be put among the clients' own, where that is declared."""
    generator: PluginChoice | None = None
    collude: Path | None = None
    """Directory that these attackers share with the others of the red team."""
    collude_wait: float = 300.0
    """Seconds to wait there for the others of a round."""
    plugins: tuple[str, ...] = ()
    """Plug-ins by path that the server's experiment may name."""
    once: bool = False
    """Whether they leave when the server's rounds are over."""


def run(wanted: ClientOptions, listen: Listener | None = None) -> None:
    """Run a machine's clients until interrupted or until the federation is over.

    Raises:
        LaunchError: They cannot be started, or the server is not the one it should be.
            The same where the installed flwr is none that this works with.
        DataError: A client's data cannot be used.
        KeyboardInterrupt: It was told to end, and everything has ended.
    """
    check("client")
    tell = Events(None, listen)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    with contextlib.ExitStack() as held:
        homes = [state_dir.place(wanted.state, identity) for identity in wanted.identities]
        for identity, home in zip(wanted.identities, homes, strict=True):
            held.enter_context(state_dir.locked(home, identity))
            for log in home.glob("*.log"):
                if log.stat().st_size > LARGEST_LOG:
                    log.replace(log.with_suffix(".log.1"))
        socket = wanted.trainer or state_dir.socket_in(homes[0])
        if wanted.trainer is not None:
            state_dir.check_trainer(socket)
        nodes = [
            _member(identity.name, home, _node(wanted, index, home, socket, tell), tell)
            for index, (identity, home) in enumerate(zip(wanted.identities, homes, strict=True))
        ]
        _greet(wanted, tell)
        child = None if wanted.trainer is not None else _trainer(wanted, homes[0], socket)
        paths = f"logs are in {wanted.state}; the trainer's socket is {socket}"
        tell("start", paths, state=str(wanted.state), trainer=str(socket))
        supervisor = Supervisor(socket, child, nodes, tell, once=wanted.once)
        held.callback(supervisor.stop)
        supervisor.run()


def _node(wanted: ClientOptions, index: int, home: Path, socket: Path, tell: Tell) -> Settings:
    """Check one client's data, write its node config file, and return its node's settings."""
    activate()
    from clients.node_config import NodeConfig

    identity = wanted.identities[index]
    source, digest = None, ""
    if wanted.data:
        source = wanted.data[index]
        count, digest = state_dir.examine(source, state_dir.secret(home, identity))
        tell("data", f"{count} examples of its own", name=identity.name, examples=count)
    written = NodeConfig(
        socket=socket,
        state=home,
        source=source,
        model=wanted.model,
        start_adapter=wanted.start_adapter,
        device=wanted.device,
        rank=wanted.rank,
        red_team=wanted.behaviour is not None,
        behaviour=wanted.behaviour,
        contaminated=wanted.contaminated,
        generator=wanted.generator,
        collude=wanted.collude,
        collude_wait=wanted.collude_wait,
        plugins=wanted.plugins,
        data=digest,
    )
    path = home / "site.json"
    state_dir.write(written, path)
    return Settings(
        server=wanted.server,
        authority=wanted.authority,
        key=identity.path or state_dir.own_key(home),
        site=path,
        name=f"{identity.name} ({identity.short})",
        number=identity.number,
    )


def _member(name: str, home: Path, settings: Settings, tell: Tell) -> NodeProcess:
    env = environment(home / "flower")
    child = Child("The node", settings.command(), log=home / "node.log", env=env, cwd=home)
    return NodeProcess(name, child, tell)


def _greet(wanted: ClientOptions, tell: Tell) -> None:
    """Check connectivity to the server before any process starts.

    Raises:
        LaunchError: It is not the server that the certificate speaks of.
    """
    seen = connectivity.look(wanted.server, wanted.authority)
    if seen.refusal:
        raise LaunchError(seen.refusal)
    if seen.clock:
        tell("refused", seen.clock)
    if not seen.reached:
        tell("away", f"no answer from {wanted.server} yet; trying until there is one")
    if wanted.authority is None and not wanted.server.local:
        tell("note", "Without TLS, whoever is on the way can read and change what is sent.")


def _trainer(wanted: ClientOptions, home: Path, socket: Path) -> Child:
    env = environment(home / "flower")
    if wanted.gpu is not None:
        env |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": wanted.gpu}
    program = "fedsafe.deployment.client.worker_process"
    command = [sys.executable, "-m", program, "--socket", str(socket)]
    nowhere = home / "empty"  # libraries take what lies in the working directory for their own
    nowhere.mkdir(mode=0o700, exist_ok=True)
    return Child("The trainer", command, log=home / "trainer.log", env=env, cwd=nowhere)

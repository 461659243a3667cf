"""Start-up plan of a server: options checked before any process starts.

Each problem is one sentence.
"""

import errno
import ipaddress
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedsafe.deployment.server import certs
from fedsafe.deployment.server.nginx import nginx
from fedsafe.deployment.server.starting_keys import starting_keys
from fedsafe.errors import ConfigError, LaunchError, RunError
from fedsafe.experiment import Experiment
from fedsafe.runs.files import flock
from fedsafe.runs.store import Store

if TYPE_CHECKING:
    from server.transport.allowlist import Allowed


@dataclass(frozen=True)
class Plan:
    """Checked plan of one server: experiment, address, certificates, client keys."""

    experiment: Experiment
    directory: Path
    """The run directory."""
    address: str
    """Where it listens, as nginx writes it: 0.0.0.0:8443 or [::]:8443."""
    tls: Path | None
    """Directory of server.crt and server.key."""
    allow: Path | None
    keys: tuple["Allowed", ...]
    fronted: bool
    """Whether nginx stands in front; else the SuperLink itself listens there."""
    notes: tuple[str, ...] = ()
    """What the operator should know."""
    randomness: Path | None = None
    """File that the server's random draws are made from; None: the system's randomness."""

    @property
    def state(self) -> Path:
        """Directory of what the running server needs, 0700."""
        return self.directory / ".server"

    @property
    def logs(self) -> Path:
        """Directory of the logs of all its processes."""
        return self.state / "logs"

    @property
    def host(self) -> str:
        """Address without its port."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return int(self.address.rpartition(":")[2])


@dataclass(frozen=True)
class ServerOptions:
    """Options of `fedsafe server`."""

    listen: str
    tls: Path | None = None
    allow: Path | None = None
    randomness: Path | None = None
    """File that the server's random draws are made from; None: the system's randomness."""
    open: bool = False
    """Whether a public address without TLS, keys or front is all right."""
    fewer: bool = False
    """Whether fewer keys than clients are all right: others are added while it runs."""


def plan(experiment: Experiment, directory: Path, asked: ServerOptions) -> Plan:
    """Check the server's options and build its plan.

    Raises:
        ConfigError: It is wrong, or would let strangers in.
        LaunchError: nginx is missing, or the address cannot be listened on.
        RunError: The directory holds something else.
    """
    address = _address(asked.listen)
    here = ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
    if asked.allow is not None and asked.tls is None:
        raise ConfigError("--allow needs --tls: clients prove their keys over TLS only.")
    program = nginx()
    if not here and not asked.open:
        _see_that_strangers_stay_out(asked, program)
    notes = [] if asked.tls is None else _certificate(asked.tls, fronted=program is not None)
    directory = directory.resolve()
    store = Store(directory)
    store.check(experiment)
    keys: tuple[Allowed, ...] = ()
    if asked.allow is not None:
        keys, said = starting_keys(asked.allow, experiment, store, fewer=asked.fewer)
        notes += said
    if os.geteuid() == 0 and program:
        notes.append("Started as root, so nginx works as root too. An ordinary user is enough.")
    return Plan(
        experiment=experiment,
        directory=directory,
        address=address,
        tls=None if asked.tls is None else asked.tls.resolve(),
        allow=None if asked.allow is None else asked.allow.resolve(),
        keys=keys,
        fronted=program is not None,
        notes=tuple(notes),
        randomness=None if asked.randomness is None else asked.randomness.resolve(),
    )


def _address(listen: str) -> str:
    """Return an address and port as nginx writes them.

    Raises:
        ConfigError: It is none.
    """
    host, _, port = listen.rpartition(":")
    bare = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        address = ipaddress.ip_address(bare)
        number = int(port)
    except ValueError:
        address, number = None, 0
    if address is None or not 0 < number < 65536 or (address.version == 6 and host[:1] != "["):
        raise ConfigError(
            f"--listen {listen}: write an IP address of this machine and a port, such as "
            "0.0.0.0:8443 (all addresses), [::]:8443 or 127.0.0.1:8443."
        )
    return f"[{address}]:{number}" if address.version == 6 else f"{address}:{number}"


def _see_that_strangers_stay_out(asked: ServerOptions, found: str | None) -> None:
    lacking = [
        name for name, given in (("--tls", asked.tls), ("--allow", asked.allow)) if given is None
    ]
    if lacking:
        raise ConfigError(
            f"--listen {asked.listen} can be reached from other machines, so it needs "
            f"{' and '.join(lacking)}: without them anyone could join, or read along. Make "
            "certificates and keys with `fedsafe certs init --host NAME`. For a trial on this "
            "machine, listen on 127.0.0.1; to do it all the same, add --insecure-i-know."
        )
    if found is None:
        raise LaunchError(
            f"--listen {asked.listen} can be reached from other machines, and nginx, which keeps "
            "all but the clients' interface away from them, is not installed. On Debian: apt "
            "install nginx-light. To do it all the same, add --insecure-i-know."
        )


def _certificate(tls: Path, *, fronted: bool) -> list[str]:
    health = certs.check(tls)
    if health.days < 0:
        raise ConfigError(health.problems[0])
    if not fronted and not health.signed:
        raise ConfigError(
            f"Without nginx the SuperLink uses {tls / certs.SERVER} itself, and needs the "
            f"{certs.CA} that signed it beside it. Put it there, or install nginx."
        )
    return list(health.problems)


def wait_for_port(address: str, seconds: float) -> None:
    """Wait until an address can be listened on.

    Raises:
        LaunchError: It is not ours to take, or still taken after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while (error := _bind(address)) is not None:
        if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
            why = {
                errno.EADDRINUSE: "another program listens there. Choose another port",
                errno.EACCES: "ports below 1024 need privileges. Choose a higher one",
                errno.EADDRNOTAVAIL: "this machine has no such address. `ip addr` lists its own",
            }.get(error.errno or 0, f"{error.strerror}. Choose another")
            raise LaunchError(f"--listen {address} cannot be listened on: {why}.")
        time.sleep(0.2)


def _bind(address: str) -> OSError | None:
    """Try an address, and return what was wrong with it."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # as nginx listens
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind((host.strip("[]"), int(port)))
            listener.listen(1)
        except OSError as error:
            return error
    return None


@contextmanager
def claim(directory: Path) -> Iterator[None]:
    """Lock a run directory against a second server; the OS releases it on any exit.

    Raises:
        RunError: Another server has it, or it cannot be written.
    """
    state = directory / ".server"

    def taken(holder: str) -> RunError:
        return RunError(
            f"Another `fedsafe server` (process {holder}) is running {directory}. Stop it first, "
            "or choose another directory with -o."
        )

    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
        file = flock(state / "lock", taken)
    except OSError as error:
        raise RunError(
            f"The run directory {directory} cannot be written: {error.strerror}. Choose another "
            "directory with -o."
        ) from None
    with file:
        yield

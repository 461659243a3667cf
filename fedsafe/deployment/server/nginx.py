"""nginx reverse proxy on the public port: TLS, and only the Fleet API passes.

The SuperLink's one port also serves Flower's control and runtime interfaces, without
authentication; they stay on this machine.
"""

import os
import shutil
import signal
import subprocess
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from fedsafe.deployment.child_processes import Child, raise_file_limit
from fedsafe.deployment.server.limits_middleware import LIMITS, SMALL
from fedsafe.deployment.server.nginx_template import (
    LARGER,
    MEMBERS,
    STRANGERS,
    TEMPLATE,
    TLS,
    VERIFY,
)
from fedsafe.errors import LaunchError
from fedsafe.flower.internals import FLEET_HTTP_PUBLIC_KEY_HEADER
from fedsafe.runs.files import write_text

PER_KEY, PER_ADDRESS, IN_ALL = 32, 256, 1024
"""Requests at a time; several clients may share one address."""
WAITING_PER_ADDRESS, WAITING_IN_ALL = 2048, 4096
"""Clients that wait for work at a time, apart from those."""
FILES = 3 * (IN_ALL + WAITING_IN_ALL) + 160
"""Two connections and a temporary file for each request, and some to spare."""
RATE, BURST = 300, 900
"""Requests a second of one address; those above wait, and above the burst are refused."""
HEADER = FLEET_HTTP_PUBLIC_KEY_HEADER.replace("-", "_")
"""In which a client names its key, as nginx calls it."""
UNQUOTED = set('"$\\\n\r')
"""Characters that nginx has no way to quote."""


@dataclass(frozen=True)
class Timeouts:
    """nginx timeouts, in seconds."""

    header: int = 10
    """For a handshake, and again for the whole head of a request."""
    body: int = 20
    """Between two pieces of a request's body."""
    send: int = 30
    """Between two pieces of an answer that it takes, and for the rest of what it is refused."""
    idle: int = 75
    """Between two requests."""


@dataclass(frozen=True)
class Nginx:
    """Configuration and process of one nginx reverse proxy."""

    listen: str
    """Address and port, as in 0.0.0.0:8443 or [::]:8443."""
    upstream: str
    """Address and port of the SuperLink."""
    state: Path
    """Directory for its files, made if need be."""
    logs: Path
    tls: Path | None = None
    """Directory of server.crt and server.key; None: no TLS."""
    inside: Path | None = None
    """Directory of the ca.crt that signed the SuperLink's certificate; None: it has no TLS."""
    keys: tuple[bytes, ...] = ()
    """Public keys of those who may join, PEM."""
    listed: bool | None = None
    """Whether only they may; None: if there are any."""
    patience: Timeouts = Timeouts()

    def config(self, files: int = FILES) -> str:
        """Return nginx's configuration, for a process that may open so many files."""
        scheme = "http" if self.inside is None else "https"
        strangers = STRANGERS if self._closed else ""
        larger = [
            LARGER.format(call=call, size=size, scheme=scheme, strangers=strangers)
            for call, size in LIMITS.items()
        ]
        return TEMPLATE.format(
            state=self.state,
            logs=self.logs,
            listen=self.listen,
            upstream=self.upstream,
            scheme=scheme,
            # As root nginx gives its directories away to another user, unless told whom.
            user="user root;" if os.geteuid() == 0 else "",
            ssl="" if self.tls is None else " ssl",
            tls="" if self.tls is None else TLS.format(tls=self.tls),
            verify="" if self.inside is None else VERIFY.format(inside=self.inside),
            larger="\n".join(larger),
            small=SMALL,
            largest=max(LIMITS.values()),
            rate=RATE,
            burst=BURST,
            per_address=PER_ADDRESS,
            in_all=IN_ALL,
            waiting_per_address=WAITING_PER_ADDRESS,
            waiting_in_all=WAITING_IN_ALL,
            waiting_member=f"limit_conn member {PER_KEY};" if self._closed else "",
            # Short of connections it drops those that say nothing; short of files, nobody.
            connections=2 * (files - 64) // 3,
            patience=self.patience,
            members=self._members(),
            strangers=strangers,
        )

    def child(self) -> Child:
        """Write the configuration, have nginx check it, and return its process, not started.

        Raises:
            LaunchError: nginx is not installed, or does not take the configuration.
        """
        command = self._write()
        # A kill costs nothing: nginx's own quick ending breaks requests off as well, and its
        # temporary files have no names.
        return Child("the front (nginx)", command, log=self._log, on_parent_death=signal.SIGKILL)

    def reload(self, running: Child, *, restart: bool) -> None:
        """Reload a running nginx with this configuration and the current certificate.

        nginx as one process cannot load a configuration again (after a SIGHUP it answers new
        connections without TLS), so it is started anew: connections break off, and clients
        make their requests again a moment later.

        Args:
            running: Its process.
            restart: Whether it takes effect now; else at the next start.

        Raises:
            LaunchError: nginx does not take it; the front goes on as it was.
        """
        self._write()
        if restart:
            running.kill()
            running.start()

    def _write(self) -> list[str]:
        """Write the configuration, once nginx has checked it; return nginx's command line.

        Raises:
            LaunchError: nginx is not installed, or does not take the configuration.
        """
        program = nginx()
        if program is None:
            raise LaunchError("nginx is not installed. On Debian: apt install nginx-light.")
        file = self.state / "front.conf"
        for home in (self.state, self.state / "front", self.logs):
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        odd = [str(path) for path in (self.state, self.logs, self.tls) if set(str(path)) & UNQUOTED]
        if odd:
            raise LaunchError(
                f"nginx cannot be given the path {odd[0]}: quotes, $, \\ and line breaks are not "
                "allowed in it."
            )
        aside = file.with_suffix(".new.conf")
        write_text(aside, self.config(raise_file_limit(FILES)))
        command = [program, "-c", str(file), "-p", str(self.state), "-e", str(self._log)]
        trial = [program, "-c", str(aside), *command[3:], "-t", "-q"]
        tried = subprocess.run(trial, capture_output=True, text=True, check=False)
        if tried.returncode:
            said = (tried.stderr.strip().splitlines() or ["it does not say why"])[0]
            raise LaunchError(f"nginx does not take {aside}: {said}")
        aside.replace(file)
        return command

    def _members(self) -> str:
        """Return the part of the configuration that says whose key is listed."""
        if not self._closed:
            return ""
        lines = [f'"{b64encode(key).decode()}" {number};' for number, key in enumerate(self.keys)]
        return MEMBERS.format(header=HEADER, keys="\n    ".join(lines), most=PER_KEY)

    @property
    def _closed(self) -> bool:
        """Whether only the keys' holders are let through."""
        return bool(self.keys) if self.listed is None else self.listed

    @property
    def _log(self) -> Path:
        return self.logs / "front.log"


def nginx() -> str | None:
    """Return the path of the nginx program, or None."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

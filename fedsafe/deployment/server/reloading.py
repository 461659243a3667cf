"""Hot reload of the allow list and the TLS certificate of a running server."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedsafe.app import activate
from fedsafe.deployment.child_processes import Child
from fedsafe.deployment.server import certs
from fedsafe.deployment.server.flower_processes import FlowerProcesses
from fedsafe.deployment.server.nginx import Nginx
from fedsafe.deployment.server.plan import Plan
from fedsafe.errors import ConfigError, LaunchError

if TYPE_CHECKING:
    from server.transport.allowlist import Allowed, AllowList

LOOK_SECONDS = 1.0
"""Between two looks at the files."""
WARN_DAYS = 14
"""Days before the end of the certificate from which on the operator is warned."""
DAY = 24 * 3600.0


class Reloader:
    """Watches one server's allow list and certificate, and applies changes.

    Args:
        plan: The server.
        tell: Told what the operator should know.
        clock: Seconds.
    """

    def __init__(
        self, plan: Plan, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan, self._tell, self._clock = plan, tell, clock
        self._looked = self._warned = float("-inf")
        self._list = None if plan.allow is None else _followed(plan.allow)
        self._keys = plan.keys
        self._problem = ""
        self._certificate = self._stamp()

    def look(self, backend: FlowerProcesses, front: tuple[Nginx, Child] | None) -> Nginx | None:
        """Apply changes since the last call.

        Args:
            backend: Where keys are registered.
            front: nginx's configuration and process, if it stands in front.

        Returns:
            The front's new configuration, if it changed.
        """
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return None
        self._looked = now
        self._warn(now)
        keys, stamp = self._read(), self._stamp()
        renewed = stamp != self._certificate and self._whole(fronted=front is not None)
        if keys is self._keys and not renewed:
            return None
        if keys is not self._keys:
            backend.admit(keys)
        changed = None
        if front is not None:
            listed = tuple(one.key for one in keys)
            changed = replace(front[0], keys=listed, listed=self._list is not None)
            new = not set(listed) <= set(front[0].keys)
            try:  # revoked keys are refused by the SuperLink, and nobody else is disturbed
                changed.reload(front[1], restart=renewed or new)
            except LaunchError as error:
                self._say(f"{error} The front goes on as it was.")
                return None
        self._describe(keys, renewed=renewed)
        self._keys = keys
        self._certificate = stamp if renewed else self._certificate
        return changed

    def _read(self) -> "tuple[Allowed, ...]":
        if self._list is None:
            return self._keys
        keys = self._list.read()
        if self._list.problem:
            self._say(f"{self._list.problem} The keys stay as they were.")
        return self._keys if keys == self._keys else keys

    def _stamp(self) -> object:
        """Return what changes whenever the certificate or its key is written."""
        if self._plan.tls is None:
            return None
        try:
            stats = [(self._plan.tls / name).stat() for name in (certs.SERVER, certs.SERVER_KEY)]
        except OSError:
            return None
        return [(one.st_mtime_ns, one.st_ino, one.st_size) for one in stats]

    def _whole(self, *, fronted: bool) -> bool:
        """Return whether a changed certificate can be taken; it may be half written."""
        assert self._plan.tls is not None
        try:
            health = certs.check(self._plan.tls)
        except ConfigError as error:
            self._say(f"{error} The server goes on with the certificate that it had.")
            return False
        if health.days < 0:
            self._say(f"{health.problems[0]} The server goes on with the one that it had.")
            return False
        if not fronted:
            self._say(
                "The certificate was changed. Without nginx it takes effect when the server is "
                "started again."
            )
        return True

    def _describe(self, keys: "tuple[Allowed, ...]", *, renewed: bool) -> None:
        """Report the changes that were applied."""
        before = {one.key: one for one in self._keys}
        now = {one.key: one for one in keys}
        for one in (*keys, *(one for key, one in before.items() if key not in now)):
            was = before.get(one.key)
            could = was is not None and not was.revoked
            can = one.key in now and not one.revoked
            if could and not can:
                how = "is revoked" if one.key in now else "is no longer listed"
                self._tell(f"The key '{one.name}' {how}: its client is refused from now on.")
            elif can and not could:
                how = "is listed now" if was is None else "is restored"
                self._tell(f"The key '{one.name}' {how}: its client may join.")
        if renewed and self._plan.tls is not None:
            days = certs.check(self._plan.tls).days
            self._tell(f"The server's certificate was renewed; it is valid for {days} days.")

    def _warn(self, now: float) -> None:
        """Warn once a day that the certificate ends soon."""
        if self._plan.tls is None or now - self._warned < DAY:
            return
        self._warned = now
        text = ending(self._plan.tls)
        if text:
            self._tell(text)

    def _say(self, text: str) -> None:
        """Report a problem once, until it changes."""
        if text != self._problem:
            self._problem = text
            self._tell(text)


def _followed(path: Path) -> "AllowList":
    activate()
    from server.transport.allowlist import AllowList

    return AllowList(path)


def ending(tls: Path) -> str:
    """Return a warning that a certificate ends within `WARN_DAYS`; empty: it does not."""
    try:
        days = certs.check(tls).days
    except ConfigError as error:
        return str(error)
    if days >= WARN_DAYS:
        return ""
    when = f"ends in {days} days" if days >= 0 else "has ended"
    return (
        f"{tls / certs.SERVER} {when}; then no client can connect. Renew it while the server "
        f"runs: fedsafe certs renew -o {tls}"
    )

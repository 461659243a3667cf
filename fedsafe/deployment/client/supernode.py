"""SuperNode process of one client: pulls the server's messages and runs the ClientApp.

Speaks to the server as Flower's SuperNode does, and runs the ClientApp that is installed
here, in this process: nothing that a server sends is ever run as code, nothing is started
for a message, and no port of this machine is open. Flower's own SuperNode works as well;
it unpacks the server's app and starts a process for every message.
"""

import argparse
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fedsafe.app import activate
from fedsafe.deployment.client import connectivity, refusal_messages
from fedsafe.deployment.client.identity import Address
from fedsafe.errors import FedSafeError

if TYPE_CHECKING:
    from flwr.app import Message

    from fedsafe.deployment.client.fleet_client import SessionEndedError
    from fedsafe.deployment.client.fleet_connection import FleetConnection


log = logging.getLogger(__name__)
EVERY = 3.0
"""Seconds between two questions for work to a server that does not wait with its answer."""
OFTEN, SELDOM = 5.0, 30.0
"""Longest pause, seconds, after a refusal: for the first minute, and later."""
TAKEN = 409
"""HTTP status of a question for work in whose place a newer one waits."""
LEAVE_SECONDS = 5.0
"""Longest time to take leave of a server."""
LONGEST_REASON = 2000
"""Characters of an error that is sent."""


@dataclass(frozen=True)
class Settings:
    """Settings of one SuperNode, passed on its command line."""

    server: Address
    authority: Path | None
    """Certificate that the server is checked by; None: no TLS."""
    key: Path
    """Private key of an elliptic curve, in OpenSSH's format."""
    site: Path
    """File of what the client decides for itself (`clients.node_config`)."""
    name: str
    """What the operator calls it."""
    number: int | None = None
    """Its number, where the server has no list of keys."""

    def command(self) -> list[str]:
        """Return the command line that starts it."""
        plain = [sys.executable, "-m", __name__, str(self.server), self.name]
        plain += ["--key", str(self.key), "--site", str(self.site)]
        plain += [] if self.authority is None else ["--authority", str(self.authority)]
        return plain if self.number is None else [*plain, "--number", str(self.number)]

    @classmethod
    def read(cls, arguments: Sequence[str]) -> "Settings":
        """Read a command line without its program."""
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("server", type=Address.parse)
        parser.add_argument("name")
        parser.add_argument("--key", type=Path, required=True)
        parser.add_argument("--site", type=Path, required=True)
        parser.add_argument("--authority", type=Path)
        parser.add_argument("--number", type=int)
        return cls(**vars(parser.parse_args(arguments)))


class Node:
    """SuperNode loop: answers the server's messages one at a time, over many sessions."""

    def __init__(
        self, settings: Settings, connect: "Callable[..., FleetConnection] | None" = None
    ) -> None:
        from clients.node_config import NODE_CONFIG
        from clients.worker.status_lines import log_status
        from fedsafe.deployment.client import fleet_connection

        self._settings, self._tell = settings, log_status
        self._line = (connect or fleet_connection.connect)(
            settings.server, settings.authority, settings.key, self._lost, self._found
        )
        self._config: dict[str, Any] = {NODE_CONFIG: str(settings.site)}
        if settings.number is not None:
            self._config["partition-id"] = settings.number
        self._id = 0
        self._away = False
        self._refused = ""
        """Why the last session ended, as it was told."""

    def run(self) -> NoReturn:
        """Run sessions until the process ends; reconnect after each.

        Raises:
            KeyboardInterrupt: It was told to end, and has left.
        """
        vain = 0
        while True:
            ended = self._session()
            vain = 1 if self._id else vain + 1
            self._id = 0
            self._explain(ended)
            time.sleep(min(2.0 ** min(vain - 1, 10), OFTEN if vain < 60 / OFTEN else SELDOM))

    def _session(self) -> "SessionEndedError":
        """Run one session; return why it ended."""
        from fedsafe.deployment.client.fleet_client import SessionEndedError

        try:
            self._id = self._line.open()
            self._found(opened=True)
            while True:
                self._next()
        except SessionEndedError as error:
            return error
        finally:
            self._line.close()

    def _next(self) -> None:
        """Answer one message, or pause when there is none.

        A server of ours gives a message that came to nothing again, and is told by the next
        question that a reply did.

        Raises:
            SessionEndedError: The session is over.
        """
        from fedsafe.deployment.client.fleet_client import RequestFailedError, SessionEndedError

        begun = time.monotonic()
        try:
            message = self._line.next()
        except RequestFailedError as error:
            if error.status:
                kind = "replaced" if error.status == TAKEN else "refused"
                raise SessionEndedError(kind, str(error)) from None
            self._tell("lost", message=f"a message of the server's did not come whole: {error}")
            message = None
        if message is None:
            time.sleep(max(0.0, begun + EVERY - time.monotonic()))
            return
        begun = time.monotonic()
        reply = self._work(message)
        try:
            self._line.answer(reply, time.monotonic() - begun)
        except RequestFailedError as error:
            self._tell("lost", message=f"its reply did not reach the server: {error}")

    def _work(self, message: "Message") -> "Message":
        """Run the ClientApp; an exception becomes an error reply, as in Flower."""
        from flwr.app import Context, Error, Message, RecordDict

        from clients.app import app
        from fedsafe.flower.internals import ErrorCode
        from fedsafe.flower.task_messages import enter_task

        run = message.metadata.run_id
        enter_task(run, self._id, 1)  # messages can only be made inside a Flower task
        context = Context(run, self._id, dict(self._config), RecordDict(), {})
        try:
            return app(message, context)
        except Exception as error:
            if not isinstance(error, FedSafeError):
                log.exception("A message of the server's was not answered.")
            self._tell("job-failed", reason=str(error) or type(error).__name__)
            reason = f"{type(error).__name__}: {error}"[:LONGEST_REASON]
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)

    # What the operator is told ------------------------------------------------------------

    def _lost(self) -> None:
        if not self._away:
            self._away = True
            self._tell(
                "away", message=f"no answer from {self._settings.server}; trying until there is one"
            )

    def _found(self, *, opened: bool = False) -> None:
        if opened or (self._away and self._id):
            self._tell("connected", message=f"connected to {self._settings.server}")
            self._refused = ""
        self._away = False

    def _explain(self, ended: "SessionEndedError") -> None:
        """Log why a session ended, once for each new reason."""
        settings = self._settings
        seen = connectivity.look(settings.server, settings.authority)
        why = refusal_messages.sentence(
            ended.kind, ended.words, settings.name, settings.server, seen
        )
        same = re.sub(r"\d+", "", why)  # a clock that is off is off by another second each time
        if same != self._refused:
            self._refused = same
            self._tell("refused", message=f"{why} Trying again.")


def main(arguments: Sequence[str]) -> int:
    """Run a node until SIGTERM or SIGINT; return the exit code."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    activate()
    try:
        Node(Settings.read(arguments)).run()
    except KeyboardInterrupt:
        return 0
    except (FedSafeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _end(*_: object) -> None:
    """Deactivate the node and exit soon, even if the server cannot be reached."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leaving = threading.Timer(LEAVE_SECONDS, os._exit, (1,))
    leaving.daemon = True
    leaving.start()
    raise KeyboardInterrupt


if __name__ == "__main__":
    code = 1
    try:
        code = main(sys.argv[1:])
    except Exception:  # the process ends below without a traceback: it goes into the log
        log.exception("The node fails.")
    finally:
        logging.shutdown()
        os._exit(code)  # threads of Flower's may still wait for a server that is away

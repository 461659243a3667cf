"""One flower-supernode: how it is started, and why it ended.

Knows nothing of the trainer, nor of who starts it again.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from fedsafe.errors import LaunchError
from fedsafe.launch.client_machine.identity import Address, Identity
from fedsafe.launch.client_machine.probe import Seen
from fedsafe.launch.flower import environment, free_port
from fedsafe.launch.processes import Child

SESSION = 90.0
"""Seconds for which a server may count a SuperNode that was killed as online."""


@dataclass(frozen=True)
class Node:
    """What one SuperNode is started with."""

    server: Address
    authority: Path | None
    """Certificate that the server is checked by; None: no TLS."""
    identity: Identity
    site: Path
    home: Path
    """Its own directory: Flower's files and the log."""

    @property
    def log(self) -> Path:
        """Return where it and its ClientApps say what they do."""
        return self.home / "supernode.log"

    def child(self) -> Child:
        """Return its process, not started.

        Raises:
            LaunchError: Flower is not installed here.
        """
        return Child(
            f"The SuperNode of {self.identity.name}",
            self.command(),
            log=self.log,
            env=environment(self.home / "flower"),
            cwd=self.home,
        )

    def command(self) -> list[str]:
        """Return the command line, with a port that is free now.

        Raises:
            LaunchError: Flower is not installed here.
        """
        site = f'fedsafe-site="{self.site}"'
        number = self.identity.number
        return [
            program("flower-supernode"), "--superlink", str(self.server), *self._proof(),
            "--host", "127.0.0.1", "--port", str(free_port()), "--isolation", "subprocess",
            "--node-config", site if number is None else f"{site} partition-id={number}",
        ]  # fmt: skip

    def _proof(self) -> list[str]:
        """Return how the server is checked, and how this client shows who it is."""
        if self.authority is None:
            return ["--insecure"]
        proof = ["--root-certificates", str(self.authority)]
        if self.identity.path is not None:
            proof += ["--auth-supernode-private-key", str(self.identity.path)]
        return proof


def program(name: str) -> str:
    """Return the path of one of Flower's programs.

    Raises:
        LaunchError: It is not installed beside this Python.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise LaunchError(
            f"{name} is not installed beside {sys.executable}. Install FedSafe in this "
            "environment: pip install fedsafe"
        )
    return found


def why_ended(
    said: str, how: str, node: Node, seen: Seen, connected_ago: float | None = None
) -> str:
    """Return why a SuperNode ended, as a sentence for its operator.

    Args:
        said: What its log holds since it was started.
        how: Its exit code in words.
        node: The SuperNode.
        seen: A look at the server, taken since.
        connected_ago: Seconds since it was last connected; None: never.
    """
    if "[code: 2004]" in said:
        return _not_let_in(node, connected_ago)
    if "Exit Code: 606" in said or "[code: 1001]" in said:
        return (
            f"The server at {node.server} runs another version of Flower, which does not go with "
            "this one. Install the same versions on both sides."
        )
    if seen.refusal or seen.clock:
        return seen.refusal or seen.clock
    if "terminated gracefully" in said:
        return (
            "The server no longer knows this session, as after a restart of its own, or does not "
            "take the signature."
        )
    return f"The SuperNode ended: {how}. The end of its log: '{_last(said)}'."


def _not_let_in(node: Node, connected_ago: float | None) -> str:
    if connected_ago is not None and connected_ago < SESSION:
        return (
            "The server still counts the session before this one as online, and lets the key in "
            "again within a minute."
        )
    return (
        f"The server does not let in {node.identity.name} ({node.identity.short}): its key is not "
        "on the allow list, or another SuperNode uses it. Send the server's operator the key's "
        ".pub file, or stop the other one."
    )


def _last(said: str) -> str:
    """Return the last line of a log that says something; its helpers complain of its death."""
    idle = ("For more information", "Connection attempt failed")
    lines = [line.strip() for line in said.splitlines()]
    told = [line for line in lines if line and not any(text in line for text in idle)]
    return told[-1] if told else "it said nothing"

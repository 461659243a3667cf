"""Flower SuperExec executor that passes the token by file descriptor, not by argv.

Flower's own puts the token on the command line, where every user of the machine can read
it, and whoever has it can send work to the clients. Here the ServerApp reads it from a
file that has no name in any directory and that only this user's processes can open.
"""

import os
import subprocess
from importlib import import_module

from fedsafe.flower.internals import (
    TASK_TYPE_TO_APPIO_API_ADDRESS_ARG,
    TASK_TYPE_TO_COMMAND,
    ExecutionSpec,
    LaunchResult,
    SubprocessExecutor,
    flower_superexec,
    unsupported,
)

FACTORY = "flwr.supercore.superexec.executor.factory"
"""Where Flower takes the class of its executor from."""


def command(spec: ExecutionSpec, token: int) -> list[str]:
    """Return the command line of a task.

    Args:
        spec: What Flower wants to run.
        token: File descriptor, inherited by the process, of its token.
    """
    line = [TASK_TYPE_TO_COMMAND[spec.task_type]]
    line += [TASK_TYPE_TO_APPIO_API_ADDRESS_ARG[spec.task_type], spec.runtime_api_address]
    line += ["--token-file", f"/proc/self/fd/{token}"]
    if spec.insecure:
        line.append("--insecure")
    elif spec.root_certificates_path is not None:
        line += ["--root-certificates", spec.root_certificates_path]
    if spec.parent_pid is not None:
        line += ["--parent-pid", str(spec.parent_pid)]
    return line


def token_file(token: str) -> int:
    """Return the descriptor of a file in memory that holds a token; the caller closes it."""
    descriptor = os.memfd_create("token")
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, token.encode())
    return descriptor


class Executor(SubprocessExecutor):
    """Start tasks as subprocesses that read their token from an inherited file."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Start a task's process, its output passed over where Flower wants that."""
        token = token_file(spec.token)
        output = subprocess.DEVNULL if spec.suppress_output else None
        try:
            process = subprocess.Popen(
                command(spec, token), stdout=output, stderr=output, pass_fds=[token]
            )
        finally:
            os.close(token)
        self._running.append(process)
        return LaunchResult.accepted()

    def reconcile(self) -> None:
        """Reap processes that have ended."""
        self._running = [process for process in self._running if process.poll() is None]


def main() -> None:
    """Run Flower's SuperExec with this executor in place of its own.

    Raises:
        LaunchError: The installed flwr takes its executor from elsewhere: it would put the
            token on the command line.
    """
    factory, name = import_module(FACTORY), SubprocessExecutor.__name__
    if getattr(factory, name, None) is not SubprocessExecutor:
        raise unsupported([f"{FACTORY}.{name}"])
    setattr(factory, name, Executor)
    flower_superexec()


if __name__ == "__main__":
    main()

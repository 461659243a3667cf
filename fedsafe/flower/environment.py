"""Environment variables for Flower's programs: a home of their own, no telemetry, a free port."""

import os
import socket
import sys
from pathlib import Path


def environment(home: Path) -> dict[str, str]:
    """Return the environment for Flower's programs.

    Args:
        home: Directory for what they write.
    """
    programs = str(Path(sys.executable).parent)
    package = str(Path(__file__).resolve().parents[2])
    return {
        **os.environ,
        "PATH": _before(programs, "PATH", os.pathsep),
        "PYTHONPATH": _before(package, "PYTHONPATH", os.pathsep),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": _before("127.0.0.1,localhost,::1", "NO_PROXY", ","),
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _before(first: str, name: str, between: str) -> str:
    """Return a list in an environment variable with something put before it."""
    return between.join(filter(None, [first, os.environ.get(name)]))


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

"""Ray's address in Flower's configuration, which Flower drops in silence.

Its simulation takes CPUs, GPUs and logging from ``init-args`` and nothing else, and starts a Ray
of its own; ``RAY_ADDRESS`` in the environment of the SuperLink is what lets it use a cluster.
"""

import os
import tomllib
from pathlib import Path
from typing import Any

CONFIG = "config.toml"


def dropped_address() -> str:
    """Return a warning where Flower's configuration names a Ray cluster that it does not use.

    Empty where it names none, or ``RAY_ADDRESS`` is set.
    """
    path = Path(os.environ.get("FLWR_HOME") or Path.home() / ".flwr") / CONFIG
    try:
        address = _address(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return ""
    if not address or os.environ.get("RAY_ADDRESS"):
        return ""
    return (
        f"{path} names a Ray cluster, init-args.address = {address!r}. Flower drops that setting "
        "in silence and starts a Ray of its own on this machine. To use the cluster, set "
        "RAY_ADDRESS in the environment that the SuperLink (or `flwr run`) is started in."
    )


def _address(value: Any) -> str:
    """Return the address below the first ``init-args`` that has one."""
    if not isinstance(value, dict):
        return ""
    for name, below in value.items():
        if name == "init-args" and isinstance(below, dict) and "address" in below:
            return str(below["address"])
        if found := _address(below):
            return found
    return ""

"""FedSafe: federated instruction tuning under attack, measured and defended.

From Python: ``from fedsafe import load_experiment, run, read_run, aggregate``.
"""

import importlib
from typing import Any

from fedsafe.version import __version__

__all__ = [
    "__version__",
    "aggregate",
    "compare",
    "load_experiment",
    "read_matrix",
    "read_run",
    "run",
    "run_matrix",
    "run_seeds",
    "search_matrix",
    "shielded",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first asked for; ``import fedsafe`` stays light."""
    if name == "aggregate":
        from fedsafe.app import activate

        activate()
        from strategies.api import aggregate

        return aggregate
    if name in {"read_matrix", "run_matrix", "search_matrix"}:
        return getattr(importlib.import_module("fedsafe.matrix.library"), name)
    if name in {"compare", "load_experiment", "read_run", "run", "run_seeds"}:
        return getattr(importlib.import_module("fedsafe.library"), name)
    if name == "shielded":
        from fedsafe.shields import shielded

        return shielded
    raise AttributeError(f"module 'fedsafe' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted(__all__)

"""FedSafe: federated instruction tuning under attack, measured and defended."""

from typing import Any

from fedsafe.version import __version__

__all__ = ["__version__", "aggregate"]


def __getattr__(name: str) -> Any:
    """Load ``aggregate`` when it is first asked for; ``import fedsafe`` stays light."""
    if name == "aggregate":
        from fedsafe.app import activate

        activate()
        from strategies.api import aggregate

        return aggregate
    raise AttributeError(f"module 'fedsafe' has no attribute '{name}'")

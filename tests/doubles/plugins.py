"""Plug-ins of somebody else, named by module:object path."""

from fedsafe.contracts import Adapter, Example, Patient
from fedsafe.errors import RunError


def nudge(patient: Patient, /, *, by: float = 0.5) -> Adapter:
    """Move every number a little."""
    return {name: tensor + by for name, tensor in patient.read().items()}


def fail(patient: Patient, /) -> Adapter:
    """Fail with a sentence."""
    raise RunError("It was hopeless.")


def unreadable(seed: int, /, *, secret: str = "") -> list[Example]:
    """Fail as a mistake in somebody's code does, quoting their data."""
    raise KeyError(secret)

"""Plug-ins of somebody else, named by module:object path."""

from fedsafe.contracts import Adapter, Patient
from fedsafe.errors import RunError


def nudge(patient: Patient, /, *, by: float = 0.5) -> Adapter:
    """Move every number a little."""
    return {name: tensor + by for name, tensor in patient.read().items()}


def fail(patient: Patient, /) -> Adapter:
    """Fail with a sentence."""
    raise RunError("It was hopeless.")

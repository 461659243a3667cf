"""Plug-ins of somebody else, named by module:object path."""

from fedsafe.contracts import Defended, DefenseTask, Example, ModelContext
from fedsafe.errors import RunError


def nudge(context: ModelContext, task: DefenseTask, /, *, by: float = 0.5) -> Defended:
    """Move every number a little."""
    return Defended({name: tensor + by for name, tensor in context.adapter().items()})


def fail(context: ModelContext, task: DefenseTask, /) -> Defended:
    """Fail with a sentence."""
    raise RunError("It was hopeless.")


def unreadable(seed: int, /, *, secret: str = "") -> list[Example]:
    """Fail as a mistake in somebody's code does, quoting their data."""
    raise KeyError(secret)

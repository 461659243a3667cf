"""Plug-ins of somebody else, named by module:object path."""

from collections.abc import Sequence

from pydantic import SecretStr

from fedsafe.contracts import (
    Aggregate,
    Defended,
    DefenseTask,
    Example,
    Exchange,
    ModelContext,
    State,
    Updates,
    Verdict,
)
from fedsafe.errors import RunError

NO_KEY = SecretStr("")


def nudge(context: ModelContext, task: DefenseTask, /, *, by: float = 0.5) -> Defended:
    """Move every number a little."""
    return Defended({name: tensor + by for name, tensor in context.adapter().items()})


def fail(context: ModelContext, task: DefenseTask, /) -> Defended:
    """Fail with a sentence."""
    raise RunError("It was hopeless.")


def unreadable(seed: int, /, *, secret: str = "") -> list[Example]:
    """Fail as a mistake in somebody's code does, quoting their data."""
    raise KeyError(secret)


def mistaken(context: ModelContext, task: DefenseTask, /) -> Defended:
    """Fail as a mistake in somebody's code does."""
    raise ZeroDivisionError("division by zero")


def paid_judge(
    exchanges: Sequence[Exchange], /, *, key: SecretStr = NO_KEY, api_key: str = ""
) -> list[Verdict]:
    """Refuse to judge without a key, as somebody's endpoint does."""
    if not key.get_secret_value() and not api_key:
        raise RunError("The endpoint wants a key.")
    return [Verdict("refuse") for _ in exchanges]


def drawing(updates: Updates, state: State, /) -> Aggregate:
    """Average the updates, and record which draws the server gave it, to six digits."""
    seed = -1.0 if updates.seed is None else float(updates.seed % 10**6)
    update = updates.weights @ updates.matrix
    return Aggregate(update, updates.weights, metrics={"seed": seed})

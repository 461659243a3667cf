"""Plug-ins of somebody else, named by module:object path."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import SecretStr

from fedsafe.contracts import (
    Aggregate,
    Ask,
    Defended,
    DefenseTask,
    Exchange,
    Measured,
    ModelContext,
    Prompt,
    Sample,
    ShieldChoice,
    State,
    Updates,
    Verdict,
)
from fedsafe.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

NO_KEY = SecretStr("")


def nudge(context: ModelContext, task: DefenseTask, /, *, by: float = 0.5) -> Defended:
    """Move every number a little."""
    return Defended({name: tensor + by for name, tensor in context.adapter().items()})


def fail(context: ModelContext, task: DefenseTask, /) -> Defended:
    """Fail with a sentence."""
    raise RunError("It was hopeless.")


def unreadable(seed: int, /, *, secret: str = "") -> list[Sample]:
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


def keyed_name(updates: Updates, state: State, /, *, api_key: str = "") -> Aggregate:
    """A rule that has a secret."""
    return Aggregate(updates.weights @ updates.matrix, updates.weights)


def keyed_optimizer(
    update: "Tensor", state: State, /, *, api_key: str = ""
) -> "tuple[Tensor, State]":
    """A server optimizer that has a secret."""
    return update, state


def drawing(updates: Updates, state: State, /) -> Aggregate:
    """Average the updates, and record which draws the server gave it, to six digits."""
    seed = -1.0 if updates.seed is None else float(updates.seed % 10**6)
    update = updates.weights @ updates.matrix
    return Aggregate(update, updates.weights, metrics={"seed": seed})


def shouted(prompts: Sequence[Prompt], /, *, marks: int = 1) -> list[Ask]:
    """Ask harmful prompts with exclamation marks after them."""
    return [
        Ask(prompt, Sample(f"{prompt.instruction} {'!' * marks}", ""))
        for prompt in prompts
        if prompt.purpose == "harmful"
    ]


def reply_words(judged: Sequence[tuple[Exchange, Verdict]], /) -> Measured | None:
    """Mean length of a reply, in words."""
    lengths = [len(exchange.reply.split()) for exchange, _ in judged]
    return Measured(sum(lengths) / len(lengths), len(lengths)) if lengths else None


def shielding(
    context: ModelContext, task: DefenseTask, /, *, secret: str = "velvet marmot 77"
) -> Defended:
    """Leave the adapter as it is, to be served behind a secret text."""
    return Defended(context.adapter(), ShieldChoice("secret-prefix", {"secret": secret}))

"""Plug-ins of somebody else, named by module:object path."""

from collections.abc import Sequence

from fedsafe.contracts import (
    Ask,
    Defended,
    DefenseTask,
    Example,
    Exchange,
    Measured,
    ModelContext,
    Prompt,
    Sample,
    ShieldChoice,
    Verdict,
)
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


def mistaken(context: ModelContext, task: DefenseTask, /) -> Defended:
    """Fail as a mistake in somebody's code does."""
    raise ZeroDivisionError("division by zero")


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
    context: ModelContext, task: DefenseTask, /, *, secret: str = "before dawn"
) -> Defended:
    """Leave the adapter as it is, to be served behind a secret text."""
    choice = ShieldChoice("secret-prefix", {"secret": secret, "where": "instruction"})
    return Defended(context.adapter(), choice)

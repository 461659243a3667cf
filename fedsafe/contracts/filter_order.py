"""Which filters may stand where: those that remember clients first, none of modules per tensor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedsafe.plugins import Plugin


def order_problem(filters: "Sequence[Plugin[Any]]", per_block: bool) -> str:
    """Return why these filters cannot stand in this order, as a sentence; "" where they can.

    Args:
        filters: In the order of applying.
        per_block: Whether each tensor is filtered and combined on its own.
    """
    seen = ""
    for plugin in filters:
        if "memory" not in plugin.traits:
            seen = seen or plugin.name
        elif seen:
            return (
                f"Filter '{plugin.name}' remembers clients and stands after '{seen}', which may "
                f"merge or change them. Put '{plugin.name}' first."
            )
        if per_block and "modules" in plugin.traits:
            return (
                f"Filter '{plugin.name}' works on LoRA modules, two tensors at a time, and "
                "per_block hands it one. Set per_block: false, or leave the filter out."
            )
    return ""

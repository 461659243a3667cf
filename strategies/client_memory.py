"""Filters that remember clients over rounds: what they are handed, and what is kept for them.

They come before all others, where every row is still one client's, and see whole updates also
where a rule works tensor by tensor. Knows nothing of any of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fedsafe.contracts import State, Updates
from fedsafe.lazy import torch
from strategies.checks import need_clients
from strategies.kernels.update_matrix import Rows

if TYPE_CHECKING:
    from torch import Tensor

COUNTED = "counted/"
"""Prefix of the influence of the last round, by client, in what is kept."""


def let_in(
    filters: Sequence[Callable[[Updates], Updates]], updates: Updates, state: State, minimum: int
) -> "tuple[Updates, dict[str, Tensor]]":
    """Return the updates that these filters let in, and what each of them remembers.

    A round in which they would leave fewer than ``minimum`` clients goes without them.
    """
    counted = {
        key.removeprefix(COUNTED): float(value)
        for key, value in state.items()
        if key.startswith(COUNTED)
    }
    found = updates
    kept: dict[str, Tensor] = {}
    for number, part in enumerate(filters):
        start = f"{number}/"
        memory = {
            key.removeprefix(start): value.clone()
            for key, value in state.items()
            if key.startswith(start)
        }
        found = part(replace(found, memory=memory, counted=counted))
        kept |= {f"{start}{key}": value for key, value in memory.items()}
    if len(Rows.of(found)) < minimum:
        found = updates
    return replace(found, memory={}, counted={}), kept


def influence_by_client(
    updates: Updates, influence: "Tensor", left_out: Mapping[str, str]
) -> "dict[str, Tensor]":
    """Return the influence of each client that was let in, for the filters of the next round.

    Args:
        updates: The round's updates as they came.
        influence: (n,) of all of them.
        left_out: Clients that were not let in.
    """
    clients = need_clients("memory", updates, len(influence))
    return {
        f"{COUNTED}{client}": torch.tensor(share, dtype=torch.float64)
        for client, share in zip(clients, influence.tolist(), strict=True)
        if client not in left_out
    }

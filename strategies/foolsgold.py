"""FoolsGold: clients whose histories point the same way are taken for one attacker.

Fung, Yoon and Beschastnikh, *The Limitations of Federated Learning in Sybil Settings*,
RAID 2020.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import need_clients, require
from strategies.geometry import measure
from strategies.rows import Rows, weighted
from strategies.sampling import choose, gather, stream

if TYPE_CHECKING:
    from torch import Tensor


_ALIKE = 1e-6
"""One less a cosine that only rounding keeps from one."""


@rules(
    "foolsgold",
    paper="Fung et al., RAID 2020",
    traits={"mixing", "scale", "memory"},
)
def foolsgold(
    updates: Updates,
    state: State,
    /,
    *,
    coordinates: Annotated[
        int, Field(ge=0, description="Coordinates of the history kept per client; 0 for all.")
    ] = 0,
) -> Aggregate:
    """Average the updates by how little each client's history resembles another's.

    The history is the sum of a client's updates, kept by client in the state: d float32 a
    client, or as many as ``coordinates`` says, drawn once. The learning rates of the
    paper are divided by their sum, so that the update is an average. Breakdown point 0: it
    withstands any number of clones beside several honest directions, but no lone attacker.
    (n, d) -> (d,) in n² d.
    """
    rows = Rows.of(updates)
    clients = need_clients("foolsgold", updates, len(rows))
    require("foolsgold", len(rows))
    memory = _remember(rows, clients, state, coordinates)
    current = torch.stack([memory[f"client/{client}"] for client in clients])
    rates = learning_rates(measure(Rows(current)).cosines())
    total = float(rates.sum())
    shares = rates / total if total > 0 else rates
    return weighted(rows, shares, memory, {"rate": total / len(rows)}, read_all=True)


def _remember(
    rows: Rows, clients: tuple[str, ...], state: State, coordinates: int
) -> dict[str, "Tensor"]:
    """Return the state with this round's updates added to their clients' histories."""
    if coordinates:
        columns = choose(rows.columns, coordinates, stream(0, 0))
        current = gather(rows, columns)
    else:
        current = rows.form()
    memory = dict(state)
    for client, row in zip(clients, current, strict=True):
        key = f"client/{client}"
        memory[key] = row + memory[key] if key in memory else row.clone()
    return memory


def learning_rates(cosines: "Tensor", epsilon: float = 0.0) -> "Tensor":
    """Return each client's learning rate from 0 to 1, given all cosines, (n,).

    All are zero where all clients are alike.
    """
    similar = cosines.clone().fill_diagonal_(0.0)
    highest = similar.max(dim=1).values
    ratio = highest[:, None] / highest.clamp(min=1e-300)
    pardoned = torch.where(highest[:, None] < highest, similar * ratio, similar)
    rates = (1 - pardoned.max(dim=1).values).clamp(0, 1)
    if rates.max() < _ALIKE:
        return torch.zeros_like(rates)
    rates = rates / rates.max()
    rates = torch.where(rates == 1, 0.99, rates)
    return (torch.log(rates / (1 - rates + epsilon)) + 0.5).clamp(0, 1)

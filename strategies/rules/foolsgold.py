"""FoolsGold: learning rates from the cosine similarity of the clients' update histories.

Fung, Yoon and Beschastnikh, *The Limitations of Federated Learning in Sybil Settings*,
RAID 2020.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from fedsafe.seeds import derive
from strategies.checks import need_clients, require
from strategies.kernels.gram_matrix import measure
from strategies.kernels.sketch import add_sketch
from strategies.kernels.update_matrix import Rows, weighted

if TYPE_CHECKING:
    from torch import Tensor


_KEPT = 262_139
"""A prime: 1 MB a client."""
_SEED = "sketch-seed"
_ALIKE = 1e-6
"""One less a cosine that only rounding keeps from one."""


@rules(
    "foolsgold",
    paper="Fung et al., RAID 2020",
    traits={"mixing", "scale", "memory", "random"},
)
def foolsgold(
    updates: Updates,
    state: State,
    /,
    *,
    coordinates: Annotated[
        int,
        Field(ge=0, description="Numbers kept of a client's history, best odd; 0 for all."),
    ] = _KEPT,
) -> Aggregate:
    """Average the updates by how little each client's history resembles another's.

    The history is the sum of a client's updates, kept by client in the state: d float32 a
    client, or where that is more than ``coordinates`` a sketch of it, whose cosines are
    off by some 0.002. All parameters count alike (in the paper those of the last layer may
    count more). The learning rates of the paper are divided by their sum, so that the
    update is an average; the authors' code adds the scaled updates up, and where all clients
    are alike it gives NaN, this rule zero. Breakdown point 0: it withstands any number of
    clones beside several honest directions, but no lone attacker. (n, d) -> (d,) in nd
    and n² of the history.
    """
    rows = Rows.of(updates)
    clients = need_clients("foolsgold", updates, len(rows))
    require("foolsgold", len(rows))
    histories, seed = _histories(rows, updates, state, coordinates)
    if not torch.isfinite(histories.sum()):
        rows.require_finite()
    rates = learning_rates(measure(Rows(histories)).cosines())
    total = float(rates.sum())
    shares = rates / total if total > 0 else rates
    memory = {f"client/{client}": row for client, row in zip(clients, histories, strict=True)}
    memory |= seed
    if state.keys() - memory.keys():  # then a row would keep the whole cohort's in memory
        memory = {client: row.clone() for client, row in memory.items()}
    metrics = {"rate": total / len(rows)}
    return weighted(rows, shares, {**state, **memory}, metrics, read_all=True)


def _histories(
    rows: Rows, updates: Updates, state: State, coordinates: int
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the histories with this round's updates, float32 (m, k), and the sketch's seed.

    The seed of the first round stays in the state, since sketches of other signs cannot be
    added; there is none where nothing is sketched or the server has no secret.
    """
    size = min(coordinates or rows.columns, rows.columns)
    kept = state.get(_SEED)
    if kept is None and not state and updates.seed is not None and size < rows.columns:
        kept = torch.tensor(derive(updates.seed, "foolsgold"))
    histories = torch.zeros(len(rows), size, device=rows.matrix.device)
    clients = need_clients("foolsgold", updates, len(rows))
    for client, history in zip(clients, histories, strict=True):
        if (past := state.get(f"client/{client}")) is not None:
            history.copy_(past)
    add_sketch(rows, histories, None if kept is None else int(kept))
    return histories, {} if kept is None else {_SEED: kept}


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

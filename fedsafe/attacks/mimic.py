"""Mimic attack: every attacker sends one client's update, which outweighs the others.

Karimireddy et al., *Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing*,
ICLR 2022.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.attacks.known_updates import Knows, common_draws, rows_known
from fedsafe.contracts import Knowledge, update_attacks
from fedsafe.errors import RunError
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@update_attacks(
    "mimic",
    paper="Karimireddy et al., ICLR 2022",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def mimic(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    target: Annotated[
        int | None, Field(ge=0, description="Row that is copied; None: the one chosen by drift.")
    ] = None,
    warmup: Annotated[int, Field(ge=1, description="Rounds in which the choice may change.")] = 10,
    largest: Annotated[
        bool, Field(description="Copy the client farthest along the drift; false: against it.")
    ] = True,
    knows: Knows = "honest",
) -> "Tensor":
    """Mimic: copy the known client that stands out most along the direction of largest variance.

    Must know: the honest clients' updates (``honest``, as in the paper; ``target`` copies a
    fixed one as in ByzFL), or the colluders' benign ones. The direction is learned over the
    first ``warmup`` rounds by Oja-like steps on running means (epfml's MimicVariantAttacker);
    then the client is kept, in rounds without it another is chosen by the direction.
    """
    rows = rows_known(knowledge)
    if target is None:
        return rows[_chosen(rows, knowledge, warmup, 1 if largest else -1)]
    if target >= len(rows):
        raise RunError(
            f"Mimic is to copy row {target} and knows {len(rows)} updates. Lower "
            "attack.update.target."
        )
    return rows[target]


def _chosen(rows: "Tensor", knowledge: Knowledge, warmup: int, sign: int) -> int:
    """Return the row to copy: along the drift, and after the warm-up the one kept."""
    memory = knowledge.memory
    seen = int(memory.get("rounds", torch.zeros(())))
    if seen < warmup:
        _learn(rows, knowledge, seen)
    memory["rounds"] = torch.tensor(float(seen + 1))
    honest = tuple(map(int, knowledge.honest_clients))
    names = (*range(len(honest) - len(rows), 0), *honest)  # attackers' own rows come first
    kept = int(memory["target"]) if "target" in memory else None
    if seen >= warmup and kept in names:
        return names.index(kept)
    chosen = int((sign * (rows @ memory["direction"])).argmax())
    memory["target"] = torch.tensor(float(names[chosen]))
    return chosen


def _learn(rows: "Tensor", knowledge: Knowledge, seen: int) -> None:
    """Take one more round into the running mean and the direction of largest variance.

    Memory ``direction`` before the first round is where the iteration starts; else it is drawn.
    """
    memory = knowledge.memory
    mean = rows.mean(dim=0)
    start = memory.get("direction")
    if start is None:
        start = common_draws(rows, 1)[0]  # all attackers copy one client
    if seen:
        mean = seen / (1 + seen) * memory["mean"] + mean / (1 + seen)
    apart = rows - mean
    step = _unit((apart @ start) @ apart)
    memory["mean"] = mean
    memory["direction"] = _unit(seen / (1 + seen) * start + step / (1 + seen)) if seen else step


def _unit(vector: "Tensor") -> "Tensor":
    return vector.div(vector.norm().clamp_min(1e-30))

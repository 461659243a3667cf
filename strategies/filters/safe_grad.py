"""Gradient surgery against a safety direction, on each client's update (SafeGrad)."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.contracts import DefenseCard, Updates, filters
from fedsafe.lazy import torch
from fedsafe.weight_directions import Unaligned, why_not
from strategies.checks import AtLeast, need_root
from strategies.lora_changes import checked, direction_of, lora_modules

if TYPE_CHECKING:
    from torch import Tensor


def _cannot(*, direction: Path | None, unaligned: Path | None, **_: object) -> str:
    """Return why it cannot use these directories."""
    if direction is None and unaligned is not None:
        return "unaligned is taken from direction, which is not set. Set direction, too."
    return why_not(direction, unaligned).replace("aligned ", "direction ", 1)


@filters(
    "safe-grad",
    paper="Yi et al., SafeGrad, 2025 (arXiv:2508.07172)",
    badge="variant: on updates of a federation in place of gradients of a step",
    card=DefenseCard(
        claim="Removing what in a user's gradient conflicts with the alignment gradient keeps "
        "safety, and what does not conflict keeps the task.",
        needs=("gradients", "safety examples"),
        cost="one local training of the server on its safety examples a round; none with a "
        "direction",
        place="in the aggregation",
        cannot=_cannot,
        nothing={"strength": 0.0},
    ),
    minimum=AtLeast(0, 1),
    traits={"root"},
)
def safe_grad(
    updates: Updates,
    /,
    *,
    direction: Annotated[
        Path | None,
        Field(description="Safe adapter directory; none: the server trains on federation.root."),
    ] = None,
    unaligned: Unaligned = None,
    per: Annotated[
        Literal["update", "tensor"],
        Field(description="Conflict of the whole update, or of each named tensor on its own."),
    ] = "update",
    strength: Annotated[
        float, Field(ge=0, le=1, description="Share of the conflicting component removed.")
    ] = 1.0,
) -> Updates:
    """Remove from each update its component against the server's safety update.

    u becomes u - strength (u.s / s.s) s where u.s < 0; s is ``Updates.root``, trained by the
    server on ``federation.root``: name safety examples there. With ``direction`` s is where the
    factors move the weight along V, the safe adapter's change less that of ``unaligned``: V A^T
    in B's place and B^T V in A's, A and B as they were sent. (n, d) -> (n, d) in n d.

    Raises:
        ConfigError: There is no safety update, or the direction is of another base model.
        ModelError: A directory cannot be read.
    """
    if strength == 0:
        return updates
    if direction is None:
        safety = need_root("safe-grad", updates).float()
    else:
        safety = _pulled_back(updates, direction, unaligned)
    changed = updates.matrix.detach().float().clone()
    whole = {"": slice(0, len(safety))}
    blocks = updates.blocks or whole if per == "tensor" else whole
    for columns in blocks.values():
        _without_conflict(changed[:, columns], safety[columns], strength)
    return replace(updates, matrix=changed)


def _without_conflict(rows: "Tensor", safety: "Tensor", strength: float) -> None:
    """Project rows (n, d) in place so that none points against the safety update (d,)."""
    s = safety.double()
    size = float(s @ s)
    if size <= 0:
        return
    against = (rows.double() @ s / size).clamp(max=0)
    rows.sub_((strength * against[:, None] * s[None, :]).to(rows.dtype))


def _pulled_back(updates: Updates, direction: Path, unaligned: Path | None) -> "Tensor":
    """Return the gradient (d,) of the product of weight and V with respect to the factors."""
    safety = torch.zeros(updates.matrix.shape[1], dtype=torch.float32)
    toward = direction_of("safe-grad", updates, direction, unaligned)
    for module in lora_modules("safe-grad", updates):
        if (v := checked(module, toward(module.name))) is not None:
            safety[module.columns_b] = (v @ module.a.T).flatten().float()
            safety[module.columns_a] = (module.b.T @ v).flatten().float()
    return safety.to(updates.matrix.device)

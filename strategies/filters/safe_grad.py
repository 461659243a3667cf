"""Gradient surgery against a safety direction, on each client's update (SafeGrad)."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.contracts import DefenseCard, Updates, filters
from strategies.checks import AtLeast, need_root

if TYPE_CHECKING:
    from torch import Tensor


@filters(
    "safe-grad",
    paper="Yi et al., SafeGrad, 2025 (arXiv:2508.07172)",
    badge="variant: on updates of a federation in place of gradients of a step",
    card=DefenseCard(
        claim="Removing what in a user's gradient conflicts with the alignment gradient keeps "
        "safety, and what does not conflict keeps the task.",
        needs=("gradients", "safety examples"),
        cost="one local training of the server on its safety examples a round",
        place="in the aggregation",
        nothing={"strength": 0.0},
    ),
    minimum=AtLeast(0, 1),
    traits={"root"},
)
def safe_grad(
    updates: Updates,
    /,
    *,
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
    server on ``federation.root``: name safety examples there. (n, d) -> (n, d) in n d.

    Raises:
        ConfigError: There is no safety update.
    """
    if strength == 0:
        return updates
    safety = need_root("safe-grad", updates).float()
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

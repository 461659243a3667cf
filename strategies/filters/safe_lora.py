"""Safe LoRA and AsFT on each client's update: projections onto an alignment direction."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.contracts import DefenseCard, Updates, filters
from fedsafe.weight_directions import Aligned, Unaligned, why_not
from fedsafe.weights.edits import Projector, least_aligned, projector, safe_projection
from strategies.checks import AtLeast
from strategies.lora_changes import checked, direction_of, lora_modules

if TYPE_CHECKING:
    from torch import Tensor


def _cannot(*, aligned: Path | None, unaligned: Path | None, **_: object) -> str:
    """Return why a filter cannot use these directories."""
    return why_not(aligned, unaligned)


@filters(
    "safe-lora",
    paper="Hsu et al., NeurIPS 2024",
    badge="variant: on each client's update of a round in place of a finished adapter",
    card=DefenseCard(
        claim="Projecting the modules of an update that are least like the alignment direction "
        "keeps what breaks safety out of the average, without data.",
        needs=("model pair",),
        cost="no pass; four thin products a module and client (without a pair: the server's own "
        "safety update a round)",
        place="in the aggregation",
        cannot=_cannot,
        nothing={"select": "threshold", "threshold": -1.0},
    ),
    minimum=AtLeast(0, 1),
    traits={"root", "modules"},
)
def safe_lora(
    updates: Updates,
    /,
    *,
    aligned: Aligned = None,
    unaligned: Unaligned = None,
    select: Annotated[
        Literal["number", "threshold"],
        Field(description="How modules are chosen, for each client on its own."),
    ] = "number",
    number: Annotated[
        int, Field(ge=0, description="Modules of the smallest cosines; ties project more.")
    ] = 10,
    threshold: Annotated[
        float, Field(ge=-1, le=1, description="Largest cosine that is projected.")
    ] = 0.5,
) -> Updates:
    """Replace an update's change D of a module by C D where cosine(C D, D) is small.

    C = V V^T / ||V||_F, V the aligned minus the unaligned weight, or with neither directory what
    the server's update on ``federation.root`` changes. D is a change of the weight: dB (A + dA) +
    B dA. In the first round, where B is zero, factor dB becomes C dB, as in the paper; later the
    client's A is kept and B takes the nearest there is. (n, d) -> (n, d).

    Raises:
        ConfigError: There is no direction, or it is of another base model.
        ModelError: A directory cannot be read.
    """
    value = threshold if select == "threshold" else number
    if value <= (-1 if select == "threshold" else 0):
        return updates
    direction = direction_of("safe-lora", updates, aligned, unaligned)
    changed = updates.matrix.detach().float().clone()
    found: list[dict[str, tuple[Tensor, float]]] = [{} for _ in changed]
    modules = {module.name: module for module in lora_modules("safe-lora", updates)}
    for name, module in modules.items():
        if (v := checked(module, direction(name))) is not None:
            for row, projections in zip(changed, found, strict=True):
                projections[name] = safe_projection(*module.change(row), v)
    for row, projections in zip(changed, found, strict=True):
        cosines = {name: cosine for name, (_, cosine) in projections.items()}
        for name in least_aligned(cosines, select, value) if cosines else ():
            modules[name].put(row, projections[name][0])
    return replace(updates, matrix=changed)


@filters(
    "asft",
    paper="Yang et al., AsFT, AAAI 2026",
    badge="variant: a projection of each client's update in place of a penalty in its loss; the "
    "local algorithm asft has the penalty",
    card=DefenseCard(
        claim="Updates along the alignment direction keep safety, and those orthogonal to it "
        "break it: without the latter, fine-tuning stays in the safe basin.",
        needs=("model pair",),
        cost="no pass; two thin products a module and client (without a pair: the server's own "
        "safety update a round)",
        place="in the aggregation",
        cannot=_cannot,
        nothing={"strength": 0.0},
    ),
    minimum=AtLeast(0, 1),
    traits={"root", "modules"},
)
def asft(
    updates: Updates,
    /,
    *,
    aligned: Aligned = None,
    unaligned: Unaligned = None,
    strength: Annotated[
        float, Field(ge=0, le=1, description="Share of what is outside that is removed.")
    ] = 1.0,
    projection: Projector = "paper",
) -> Updates:
    """Remove what of each update lies outside the alignment direction: D - strength (I - C) D.

    A penalty lambda ||(I - C) D||^2 beside ||D - D_client||^2 has its least there with strength
    lambda / (1 + lambda), for an orthogonal C. V, D and what becomes of the factors are as in
    filter safe-lora; all modules are projected. (n, d) -> (n, d).

    Raises:
        ConfigError: There is no direction, or it is of another base model.
        ModelError: A directory cannot be read.
    """
    if strength == 0:
        return updates
    direction = direction_of("asft", updates, aligned, unaligned)
    changed = updates.matrix.detach().float().clone()
    for module in lora_modules("asft", updates):
        if (v := checked(module, direction(module.name))) is not None:
            root = projector(v, projection)
            for row in changed:
                left, _ = module.change(row)
                module.put(row, (1 - strength) * left + strength * root @ (root.T @ left))
    return replace(updates, matrix=changed)

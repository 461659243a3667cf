"""Safety client: a safety adapter joins the aggregation as one more client (LoRA fusion)."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import DefenseCard, Updates, filters
from fedsafe.errors import ConfigError
from fedsafe.lazy import torch
from fedsafe.weight_directions import adapter_tensors
from strategies.checks import AtLeast, need_model, need_root

if TYPE_CHECKING:
    from torch import Tensor

NAME = "safety-client"


def _cannot(*, adapter: Path | None, **_: object) -> str:
    """Return why it cannot use this adapter."""
    if adapter is None or not adapter.exists():
        return ""
    folder = adapter.parent if adapter.is_file() else adapter
    held = (folder / "adapter_config.json").is_file()
    return (
        "" if held else f"adapter {adapter} holds none (adapter_config.json). Name one that does."
    )


@filters(
    NAME,
    paper="arXiv:2501.06208",
    badge="variant: factors are averaged in each round in place of one merge of the products",
    card=DefenseCard(
        claim="A weighted merge with a safety adapter lowers harmfulness, at a price in refusals "
        "of harmless prompts.",
        needs=("safety adapter",),
        cost="no pass; one row more (without an adapter: one local training of the server on its "
        "safety examples a round)",
        place="in the aggregation",
        cannot=_cannot,
        nothing={"weight": 0.0},
    ),
    minimum=AtLeast(0, 1),
    traits={"root", "adds"},
)
def safety_client(
    updates: Updates,
    /,
    *,
    adapter: Annotated[
        Path | None,
        Field(
            description="Safety adapter directory, of the federation's adapter settings; none: the "
            "server trains on federation.root."
        ),
    ] = None,
    weight: Annotated[
        float, Field(ge=0, lt=1, description="Its weight, beside 1 - weight for all clients.")
    ] = 0.2,
) -> Updates:
    """Add the server's own update below those of the clients, as that of one more client.

    The update is ``Updates.root``, trained by the server on ``federation.root``, or leads from
    the adapter that was sent to the safety adapter. A mean then is the weighted merge of LoRA
    fusion; a rule without weights takes it for one client of n + 1, and may reject it. Factors of
    adapters that did not begin alike have no meaningful mean: train it from the federation's
    start. (n, d) -> (n + 1, d).

    Raises:
        ConfigError: There is no safety update, or the adapter has other names or shapes.
        ModelError: The adapter cannot be read.
    """
    if weight == 0:
        return updates
    own = need_root(NAME, updates) if adapter is None else _toward(updates, adapter)
    matrix = torch.cat([updates.matrix.detach().float(), own.to(updates.matrix)[None].float()])
    share = torch.full_like(updates.weights[:1], weight)
    return replace(
        updates,
        matrix=matrix,
        weights=torch.cat([(1 - weight) * updates.weights, share]),
        clients=(*updates.clients, NAME) if updates.clients else (),
    )


def _toward(updates: Updates, adapter: Path) -> "Tensor":
    """Return the update (d,) that leads from the adapter that was sent to the safety adapter."""
    tensors = adapter_tensors(adapter)
    found = {name: tuple(tensors[name].shape) for name in sorted(tensors)}
    if found != dict(updates.shapes):
        odd = sorted(found.items() ^ updates.shapes.items())
        name, shape = odd[0] if odd else ("its tensors", "in another order")
        raise ConfigError(
            f"The safety adapter in {adapter} has other tensors than the federation's: {name} "
            f"{shape} is in one alone. Train it with the federation's adapter section."
        )
    flat = torch.cat([tensors[name].flatten().float() for name in updates.shapes])
    return flat - need_model(NAME, updates).to(flat)

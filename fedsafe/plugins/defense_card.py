"""Defense card: what a defense claims, needs and costs, beside its badge and paper.

Shown by ``fedsafe plugins show`` and in the report, and read before anything is loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

Place = Literal["after training", "at the clients", "in the aggregation", "when served"]
Need = Literal[
    "gradients",
    "generation",
    "judge",
    "harmful answers",
    "safety examples",
    "model pair",
    "safety adapter",
    "activations",
    "full-precision weights",
]
NEEDS: Final[tuple[str, ...]] = get_args(Need)
BADGES: Final = ("faithful", "simplified", "variant")


@dataclass(frozen=True)
class DefenseCard:
    """What a defense claims, needs and costs, for any kind of plug-in that defends.

    Attributes:
        claim: What its paper or its inventor says it does, a sentence; never what was measured.
        cost: Passes through the model, or of what it depends: "no pass; one product a module".
            Seconds and passes of each run are measured and stand in its record.
        needs: What it works with beside an adapter and its base model. "full-precision
            weights" refuses a quantized model; the others inform.
        place: Where in a federation it acts.
        cannot: Called with all settings as keywords before anything is loaded; returns why it
            cannot run with them, as a sentence, or "".
        nothing: Settings with which it changes nothing, for the property tests; empty: it has none.
    """

    claim: str
    cost: str
    needs: tuple[Need, ...] = ()
    place: Place = "after training"
    cannot: Callable[..., str] | None = None
    nothing: Mapping[str, Any] = field(default_factory=dict)

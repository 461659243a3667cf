"""Adaptive attacks: the poisoned direction as far as the server's own rule lets it through.

The attackers train both a poisoned and a benign update; their difference is the direction.
They run the rule, with the server's settings and filters, on what they know or imitate of the
others, and search the size that moves its result farthest. After the AGR-tailored attacks of
Shejwalkar and Houmansadr, NDSS 2021, but targeted.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.attacks.known_updates import Knows, crowd_of, tried
from fedsafe.attacks.line_search import best_of_grid
from fedsafe.contracts import Knowledge, update_attacks
from fedsafe.errors import RunError
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Margin = Annotated[
    float,
    Field(gt=0, le=1, description="Factor on the size found, for what the imitation gets wrong."),
]
Largest = Annotated[
    float,
    Field(
        gt=0,
        description="Largest size tried, in lengths of the poisoned direction. One that a rule "
        "takes in can be so long that the model forgets its skills, and the attack is seen.",
    ),
]
PAPER = "after Shejwalkar and Houmansadr, NDSS 2021"
BADGE = "variant: the poisoned direction in place of one against the benign mean"
IMITATIONS = 2
"""Imitated rounds over which a size is judged, where the honest updates are not known."""
TRAITS = frozenset({"benign", "colluders", "honest", "rule"})


@update_attacks("adaptive-selection", paper=PAPER, badge=BADGE, traits=TRAITS)
def adaptive_selection(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    margin: Margin = 0.9,
    largest: Largest = 64.0,
    knows: Knows = "colluders",
) -> "Tensor":
    """Adaptive attack on selection rules: Krum, Multi-Krum, DnC, FLAME, SignGuard.

    Must know: the server's rule with its settings and filters, the number of clients and
    attackers, and the colluders' poisoned and benign updates (``colluders``) or the honest
    clients' as well (``all``). Adds the poisoned direction to a benign update: to the mean one
    in all attackers, or to each one's own, whichever the rule lets through farther.
    """
    aim = _Aim.of(update, knowledge)
    best = (0.0, 0.0, aim.own[aim.position])
    for bases in (aim.base.expand_as(aim.own), aim.own):
        size, gain = aim.search(
            lambda size, bases=bases: bases + size * aim.direction,  # type: ignore[misc]
            largest,
        )
        if gain > best[1]:
            best = size, gain, bases[aim.position]
    aim.report(best[0])
    return best[2] + margin * best[0] * aim.direction


@update_attacks("adaptive-coordinates", paper=PAPER, badge=BADGE, traits=TRAITS)
def adaptive_coordinates(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    reach: Annotated[
        float, Field(gt=0, description="Share of the way from the mean to the extreme values.")
    ] = 1.0,
    largest: Largest = 64.0,
    knows: Knows = "colluders",
) -> "Tensor":
    """Adaptive attack on coordinate-wise rules: median and trimmed mean.

    Must know: as `adaptive-selection`. Moves every coordinate along the poisoned direction, but
    not beyond the smallest and the largest value that the others have there: an attacker farther
    out moves such a rule no farther.
    """
    aim = _Aim.of(update, knowledge)
    low = reach * (torch.stack([one.amin(dim=0) for one in aim.crowds]).mean(dim=0) - aim.base)
    high = reach * (torch.stack([one.amax(dim=0) for one in aim.crowds]).mean(dim=0) - aim.base)
    low, high = low.clamp(max=0), high.clamp(min=0)

    def within(size: float) -> "Tensor":
        return aim.base + (size * aim.direction).clamp(low, high)

    size, _ = aim.search(lambda size: within(size).expand_as(aim.own), largest)
    aim.report(size)
    return within(size)


@update_attacks("adaptive-norm", paper=PAPER, badge=BADGE, traits=TRAITS)
def adaptive_norm(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    margin: Margin = 0.9,
    largest: Largest = 64.0,
    knows: Knows = "colluders",
) -> "Tensor":
    """Adaptive attack on clipping and norm thresholds.

    Must know: as `adaptive-selection`. Puts all of the length that passes into the poisoned
    direction, with nothing benign: the smallest length that moves the result farthest.
    """
    aim = _Aim.of(update, knowledge)
    size, _ = aim.search(lambda size: (size * aim.direction).expand_as(aim.own), largest)
    aim.report(size)
    return margin * size * aim.direction


class _Aim:
    """The poisoned direction, the benign updates to hide in, and the rule to try on."""

    def __init__(self, poisoned: "Tensor", benign: "Tensor", knowledge: Knowledge) -> None:
        known = len(poisoned)
        self._knowledge = knowledge
        self.position = knowledge.position if known > 1 else 0
        own = benign.reshape(known, -1, benign.shape[1]).mean(dim=1)
        self.own = own if known > 1 else own.expand(knowledge.attackers, -1)
        """(f, d): each attacker's benign update, the mean of its estimates; others' as the own."""
        self.base = self.own.mean(dim=0)
        self.direction = poisoned.mean(dim=0) - self.base
        crowds = 1 if knowledge.honest is not None else IMITATIONS
        self.crowds = [crowd_of(knowledge, draw) for draw in range(crowds)]

    @classmethod
    def of(cls, update: "Tensor", knowledge: Knowledge) -> "_Aim":
        """Return the aim of the colluders, or of an attacker alone.

        Raises:
            RunError: There is no poisoned update that differs from the benign one.
        """
        poisoned = update[None] if knowledge.colluders is None else knowledge.colluders
        if knowledge.benign is None:
            raise RunError(
                "An adaptive attack hides its poisoned direction in benign updates of the "
                "attackers. Set attack.update.knows to own, colluders or all."
            )
        aim = cls(poisoned, knowledge.benign, knowledge)
        if not bool(aim.direction.any()):
            raise RunError(
                "An adaptive attack has no poisoned direction: its behaviour trained the benign "
                "update itself. Set attack.behaviour to one that poisons, such as poisoned-data."
            )
        return aim

    def search(self, forged: "Callable[[float], Tensor]", largest: float) -> tuple[float, float]:
        """Return the size that moves the rule's result farthest, and how far.

        Args:
            forged: The attackers' updates (m, d) of a size, in units of the direction.
            largest: Size that is not exceeded.
        """
        length = float(self.direction.norm())

        def gain(size: float) -> float:
            moved = 0.0
            for crowd in self.crowds:
                combined, _ = tried(self._knowledge, forged(size), crowd)
                moved += float((combined - crowd.mean(dim=0)) @ self.direction) / length
            return moved / len(self.crowds)

        size = best_of_grid(gain, largest / 1024, largest, points=13, finer=2)
        return size, gain(size) if size else 0.0

    def report(self, size: float) -> None:
        """Say what came of the search where nothing did."""
        if size == 0:
            self._knowledge.report(
                f"The adaptive attack found no size of its poisoned direction that the rule "
                f"'{self._knowledge.rule}' takes in: it sends benign updates."
            )

"""Run update attacks: what each must know, where it runs, and the check of its result."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fedsafe.contracts import KNOWS, Aggregate, Knowledge, Updates, algorithms, update_attacks
from fedsafe.errors import RunError
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from fedsafe.experiment.attack import Attack
    from fedsafe.experiment.section import PluginChoice

KINDS = frozenset({"benign", "colluders", "honest", "rule"})
"""What an update attack can declare to know."""


def needs(choice: "PluginChoice") -> frozenset[str]:
    """Return what an update attack must know beside its own update.

    Its traits; where it has a setting ``knows``, that narrows all but the rule.
    """
    plugin = update_attacks[choice.name]
    traits = plugin.traits & KINDS
    knows = plugin.resolve(choice.settings).get("knows")
    return traits & (KNOWS[knows] | {"rule"}) if knows in KNOWS else traits


def runs_at_client(attack: "Attack") -> bool:
    """Whether the attackers apply the update attack themselves, not the server for them.

    They do where it needs their own updates alone, or where colluders are on machines of their
    own (``attack.collusion: clients``).
    """
    if attack.update is None:
        return False
    alone = not needs(attack.update) & {"colluders", "honest", "rule"}
    return alone or attack.collusion == "clients"


def trains_apart(behaviour: "PluginChoice", estimates: int) -> bool:
    """Whether benign updates are others than the one that the behaviour trains."""
    return estimates > 1 or "malicious" in algorithms[behaviour.name].traits


def forge(choice: "PluginChoice", update: "Tensor", knowledge: Knowledge) -> "Tensor":
    """Return what an update attack makes of a client's update, float32 (d,).

    Raises:
        RunError: It returned something else than a finite update of this shape.
        ConfigError: A setting is wrong.
    """
    forged = update_attacks[choice.name].configure(choice.settings)(update.clone(), knowledge)
    if tuple(forged.shape) != tuple(update.shape) or not bool(torch.isfinite(forged).all()):
        raise RunError(
            f"Update attack '{choice.name}' must return a finite update of shape "
            f"{tuple(update.shape)}; it returned {tuple(forged.shape)}"
            f"{'' if forged.shape else ' (a scalar)'}"
            f"{' with values that are not finite' if forged.shape == update.shape else ''}."
        )
    return forged.float()


def trial_of(
    pipeline: Callable[[Updates], Aggregate], like: Updates
) -> "Callable[[Tensor], Aggregate]":
    """Return the server's pipeline as a function of (n, d) updates of equal weight.

    Args:
        pipeline: Filters, rule and optimizer, with what they remember.
        like: A round's updates, for everything but rows, weights and clients.
    """

    def aggregate(matrix: "Tensor") -> Aggregate:
        weights = torch.full((len(matrix),), 1 / len(matrix))
        clients = tuple(map(str, range(len(matrix))))
        return pipeline(replace(like, matrix=matrix, weights=weights, clients=clients))

    return aggregate

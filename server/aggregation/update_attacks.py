"""Collusion attacks on updates, applied on the server in declared red-team runs only.

What colluding attackers share, what the honest send and the server's own rule are known
together at the server alone: so it stands in for the attackers there, on the updates
that their clients trained. Attacks that need only their own update run at the client.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fedsafe.contracts import Aggregate, Knowledge, Updates, update_attacks
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.lazy import torch
from fedsafe.messages import beyond_own
from fedsafe.runs.records import Client
from fedsafe.seeds import stream
from server.aggregation.aggregator import RuleAggregator
from server.aggregation.interface import Aggregator
from server.aggregation.update_store import UpdateStore
from server.transport.train_messages import Tensors

if TYPE_CHECKING:
    from torch import Tensor


def forge(
    experiment: Experiment,
    updates: Updates,
    update_store: UpdateStore,
    clients: dict[int, Client],
    aggregator: Aggregator,
    state: Tensors,
) -> None:
    """Apply the experiment's update attack to the malicious clients' rows, in place.

    Args:
        experiment: Its attack; without one that runs at the server nothing happens.
        updates: The accepted updates of a round; their matrix lies in the update store.
        update_store: Where they lie.
        clients: The round's records; those of attackers get the forged update's norm.
        aggregator: The aggregator of the updates.
        state: What it remembers.
    """
    malicious = frozenset(one for one, client in clients.items() if client.malicious)
    pipeline = aggregator.pipeline if isinstance(aggregator, RuleAggregator) else None
    tried = None if pipeline is None else partial(pipeline, state=state)
    for row, update in forged_rows(experiment, updates, malicious, tried).items():
        client = int(updates.clients[row])
        update_store.replace(row, update)
        norm = float(update.double().norm())
        clients[client] = clients[client].model_copy(update={"norm": norm})


def forged_rows(
    experiment: Experiment,
    updates: Updates,
    malicious: frozenset[int],
    pipeline: Callable[[Updates], Aggregate] | None,
) -> "dict[int, Tensor]":
    """Return what the experiment's update attack makes of the malicious clients' updates.

    Args:
        experiment: Its attack; without one that runs at the server nothing is forged.
        updates: The accepted updates of a round, (n, d).
        malicious: Numbers of the malicious clients.
        pipeline: The server's filters and rule; None: a Flower strategy, which no attack can
            try out.

    Returns:
        By row of ``updates.matrix``: float32 (d,).

    Raises:
        RunError: The attack returned something else than a finite update.
    """
    choice = experiment.attack.update if experiment.attack and experiment.red_team else None
    rows = [row for row, client in enumerate(updates.clients) if int(client) in malicious]
    if choice is None or not beyond_own(choice) or not rows:
        return {}
    forge = update_attacks[choice.name].configure(choice.settings)
    shared = _shared_knowledge(experiment, updates, rows, pipeline)
    forged = {}
    for position, row in enumerate(rows):
        client = int(updates.clients[row])
        knowledge = replace(
            shared,
            client=client,
            position=position,
            rng=stream(experiment.seed, "update-attack", client, "round", updates.round),
        )
        forged[row] = _checked(choice.name, forge(updates.matrix[row].clone(), knowledge), updates)
    return forged


def _shared_knowledge(
    experiment: Experiment,
    updates: Updates,
    rows: list[int],
    pipeline: Callable[[Updates], Aggregate] | None,
) -> Knowledge:
    """Return what the attackers of a round know together, as far as the attack declares it."""
    assert experiment.attack is not None
    assert experiment.attack.update is not None
    assert updates.model is not None
    declared = update_attacks[experiment.attack.update.name].traits
    strategy = experiment.federation.strategy
    honest = [row for row in range(len(updates.matrix)) if row not in rows]
    knows_rule = "rule" in declared

    def aggregate(matrix: "Tensor") -> Aggregate:
        assert pipeline is not None
        weights = torch.full((len(matrix),), 1 / len(matrix))
        clients = tuple(map(str, range(len(matrix))))
        return pipeline(replace(updates, matrix=matrix, weights=weights, clients=clients))

    return Knowledge(
        round=updates.round,
        client=-1,
        rng=stream(experiment.seed, "update-attack", "round", updates.round),
        model=updates.model,
        blocks=updates.blocks,
        colluders=updates.matrix[rows].clone() if "colluders" in declared else None,
        honest=updates.matrix[honest].clone() if "honest" in declared else None,
        rule=strategy.name if knows_rule else None,
        settings=strategy.settings if knows_rule else None,
        filters=tuple(choice.name for choice in strategy.filters) if knows_rule else (),
        cohort=len(updates.matrix) if knows_rule else None,
        aggregate=aggregate if knows_rule and pipeline is not None else None,
    )


def _checked(name: str, forged: "Tensor", updates: Updates) -> "Tensor":
    columns = updates.matrix.shape[1]
    if tuple(forged.shape) != (columns,) or not bool(torch.isfinite(forged).all()):
        raise RunError(
            f"Update attack '{name}' must return a finite update of shape ({columns},); it "
            f"returned {tuple(forged.shape)}{'' if forged.shape else ' (a scalar)'}."
        )
    return forged.float()

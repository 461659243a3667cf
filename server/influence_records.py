"""Each client's influence on a round, in its records, with probe score and why it was left out."""

from collections.abc import Mapping, MutableMapping

from fedsafe.contracts import Updates
from fedsafe.runs.records import Client
from server.aggregation.interface import AggregationResult
from server.validation import Reply


def record_influence(
    clients: MutableMapping[int, Client],
    accepted: Mapping[int, tuple[int, Reply]],
    combined: AggregationResult,
    updates: Updates,
) -> None:
    """Write into the records of accepted clients what the aggregation made of them.

    Args:
        clients: The records of the round, changed in place.
        accepted: Position in the cohort to (client, reply).
        combined: What the strategy made of the replies, in the order of positions.
        updates: What it was given.
    """
    weights = None if combined.influence is None else combined.influence.tolist()
    scores = updates.probe or {}
    for row, position in enumerate(sorted(accepted)):
        client = accepted[position][0]
        told = {
            "influence": None if weights is None else weights[row],
            "reason": combined.left_out.get(str(client), ""),
            "probe_score": scores.get(str(client)),
        }
        clients[client] = clients[client].model_copy(update=told)

"""Partition examples across clients: IID, Dirichlet or by topic.

Knows nothing of what the examples say, their topics aside.
"""

import random
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Sample, partitions
from fedsafe.errors import DataError


@partitions("iid")
def iid(examples: Sequence[Sample], clients: int, rng: random.Random, /) -> list[list[int]]:
    """Deal the shuffled examples out; shares differ in size by one at most.

    Raises:
        DataError: There are fewer examples than clients.
    """
    _check(examples, clients)
    order = list(range(len(examples)))
    rng.shuffle(order)
    return [order[client::clients] for client in range(clients)]


@partitions("dirichlet", paper="Hsu et al., 2019 (arXiv:1909.06335)")
def dirichlet(
    examples: Sequence[Sample],
    clients: int,
    rng: random.Random,
    /,
    *,
    alpha: Annotated[
        float, Field(gt=0, description="Small: clients differ much; large: hardly.")
    ] = 0.5,
    minimum: Annotated[int, Field(ge=1, description="Examples that each client has at least.")] = 1,
) -> list[list[int]]:
    """Split each topic over the clients in shares drawn from a Dirichlet distribution.

    A client left with fewer than ``minimum`` gets the rest from the largest share.

    Raises:
        DataError: There are too few examples, or they have no topic.
    """
    _check(examples, clients, minimum)
    shares: list[list[int]] = [[] for _ in range(clients)]
    for members in _topics(examples, "dirichlet", rng).values():
        parts = [rng.gammavariate(alpha, 1.0) for _ in range(clients)]
        if not sum(parts):  # every draw of a tiny alpha may round to zero
            parts[rng.randrange(clients)] = 1.0
        done, begin = 0.0, 0
        for client, part in enumerate(parts):
            done += part
            end = len(members) if client == clients - 1 else round(done / sum(parts) * len(members))
            shares[client] += members[begin:end]
            begin = end
    for share in shares:
        while len(share) < minimum:
            share.append(max(shares, key=len).pop())
    return _shuffled(shares, rng)


@partitions("by-topic")
def by_topic(examples: Sequence[Sample], clients: int, rng: random.Random, /) -> list[list[int]]:
    """Give each client whole topics, dealt in turn in a drawn order.

    With fewer topics than clients, each client has one topic, and those of the same
    topic share its examples evenly.

    Raises:
        DataError: There are too few examples for that, or they have no topic.
    """
    _check(examples, clients)
    topics = _topics(examples, "by-topic", rng)
    names = list(topics)
    rng.shuffle(names)
    shares: list[list[int]] = [[] for _ in range(clients)]
    for turn, name in enumerate(names):
        owners = range(turn, clients, len(names)) if len(names) < clients else [turn % clients]
        for place, client in enumerate(owners):
            shares[client] += topics[name][place :: len(owners)]
        if len(topics[name]) < len(owners):
            raise DataError(
                f"Topic '{name}' has {len(topics[name])} examples for {len(owners)} clients, so "
                "one would have none. Use fewer clients or more examples."
            )
    return _shuffled(shares, rng)


def _check(examples: Sequence[Sample], clients: int, minimum: int = 1) -> None:
    if len(examples) < clients * minimum:
        each = "one" if minimum == 1 else str(minimum)
        raise DataError(
            f"There are {len(examples)} examples for {clients} clients, and each needs at least "
            f"{each}. Use fewer clients or more examples."
        )


def _topics(examples: Sequence[Sample], name: str, rng: random.Random) -> dict[str, list[int]]:
    """Return the shuffled examples of each topic, topics in the order of their names."""
    found: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        found.setdefault(example.topic, []).append(index)
    if set(found) == {""}:
        raise DataError(
            f"Partition '{name}' needs the topic of each example, and these have none. Name the "
            "field that holds it in data.source.topic, or use the partition 'iid'."
        )
    for members in found.values():
        rng.shuffle(members)
    return dict(sorted(found.items()))


def _shuffled(shares: list[list[int]], rng: random.Random) -> list[list[int]]:
    for share in shares:
        rng.shuffle(share)
    return shares

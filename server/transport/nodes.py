"""Nodes of a Flower grid: their ids, public keys and when they came online.

Calls that the SuperLink fails to answer are retried. Knows nothing of clients.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from flwr.serverapp import Grid

from fedsafe.errors import RunError
from fedsafe.flower.grids import GridKind, kind_of
from fedsafe.flower.internals import ObjectPushError

OUTAGE_SECONDS = 300.0
"""How long a SuperLink may fail to answer before the run gives up."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two tries; they double."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class Node:
    """One node, as the grid knows it now."""

    id: int
    key: bytes = b""
    """Its public key (PEM), where the grid knows it."""
    since: str = ""
    """When it came online. Another time is another session: it was started again."""


def deployed(grid: Grid) -> bool:
    """Return whether a grid's nodes are on separate machines, so that nothing of them is trusted.

    Raises:
        LaunchError: The grid is of no known kind.
    """
    return kind_of(grid) is GridKind.DEPLOYMENT


def online(grid: Grid) -> dict[int, Node]:
    """Return the nodes that are online, by id.

    Raises:
        RunError: The SuperLink does not answer.
    """
    if not deployed(grid):
        return {node: Node(node) for node in grid.get_node_ids()}
    infos: Any = patiently(grid.get_nodes)
    return {
        info.node_id: Node(info.node_id, info.public_key, info.last_activated_at) for info in infos
    }


def patiently(call: Callable[[], Found]) -> Found:
    """Call the grid, retrying while the SuperLink is unreachable.

    Flower itself waits for a SuperLink that it cannot reach; this is for one that
    answers with an error, as it does while it starts or while its database is locked.

    Raises:
        RunError: It stays away.
    """
    begun, pause = time.monotonic(), FIRST_PAUSE
    while True:
        try:
            return call()
        except (httpx.HTTPError, ObjectPushError) as error:
            if time.monotonic() - begun > OUTAGE_SECONDS:
                raise RunError(
                    f"The SuperLink has not done its work for {OUTAGE_SECONDS:g} s "
                    f"({type(error).__name__}: {error}). See to it, and start again with the same "
                    "command: the run goes on after the last complete round."
                ) from None
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)

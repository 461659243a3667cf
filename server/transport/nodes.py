"""The nodes that a grid reaches: their ids, their keys, and since when they are there.

Knows nothing of clients; and of Flower's grids only what they have in public.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError

from fedsafe.errors import RunError

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
    """Say whether this is Flower's own grid to separate machines."""
    return type(grid).__name__ == "HttpGrid"


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
    """Return what a call to the grid returns, trying again while the SuperLink is away.

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

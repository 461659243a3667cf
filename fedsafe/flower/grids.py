"""Kinds of Flower grids: separate machines, Flower's simulation, or this process.

Bounds on replies and the binding of clients to keys depend on the kind, so a grid of no known
kind is an error.
"""

from enum import StrEnum
from typing import Any, Final

from flwr.serverapp import Grid

from fedsafe.errors import LaunchError
from fedsafe.flower.internals import load, support, unsupported

RUNTIME_CALLS: Final = ("PullMessages", "PullObject", "ConfirmMessageReceived")
"""Calls of the SuperLink's Runtime API with which replies are fetched."""


class GridKind(StrEnum):
    """Where a grid's nodes are."""

    DEPLOYMENT = "deployment"
    """On separate machines, behind a SuperLink: what comes from them is not trusted."""
    SIMULATION = "simulation"
    """In Flower's simulation engine on this machine."""
    LOCAL = "local"
    """In this process."""


class LocalGrid(Grid):
    """Base class of grids whose nodes live in this process.

    Their replies are objects of this process: they are taken without bounds, and nodes have
    no keys.
    """


def kind_of(grid: Grid) -> GridKind:
    """Return the kind of a grid.

    Raises:
        LaunchError: It is none of the known ones.
    """
    if isinstance(grid, LocalGrid):
        return GridKind.LOCAL
    if isinstance(grid, load("HttpGrid")):
        return GridKind.DEPLOYMENT
    if isinstance(grid, load("InMemoryGrid")):
        return GridKind.SIMULATION
    cls = type(grid)
    raise LaunchError(
        f"FedSafe does not know the grid {cls.__module__}.{cls.__qualname__} and cannot tell "
        f"whether its replies need bounds and its nodes have keys. {support()} A grid whose nodes "
        "live in this process is derived from fedsafe.flower.grids.LocalGrid."
    )


def runtime_client(grid: Grid) -> Any:
    """Return the client of the SuperLink's Runtime API that a network grid holds.

    Raises:
        LaunchError: The installed flwr has none there, or one without a call that is needed.
    """
    client = getattr(grid, "_runtime_client", None)
    if client is None:
        raise unsupported([f"{type(grid).__module__}.{type(grid).__qualname__}._runtime_client"])
    missing = [name for name in RUNTIME_CALLS if not callable(getattr(client, name, None))]
    if missing:
        raise unsupported([f"{type(client).__qualname__}.{name}" for name in missing])
    return client

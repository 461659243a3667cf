"""Kinds of grids: by class and not by name, and an unknown one is an error."""

import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.superlink import grid as flower_grids

from fedsafe.errors import LaunchError
from fedsafe.flower import grids
from fedsafe.flower.grids import GridKind, LocalGrid, kind_of, runtime_client
from fedsafe.launch.grid import InlineGrid
from server.aggregation.flower_strategy import CohortGrid
from tests.doubles.grids import Scripted, at_once, empty_reply
from tests.doubles.superlink import superlink


def test_network_grid_is_a_deployment() -> None:
    assert kind_of(flower_grids.HttpGrid(token="t")) is GridKind.DEPLOYMENT


def test_simulation_has_a_grid_of_its_own() -> None:
    grid = object.__new__(flower_grids.InMemoryGrid)
    assert kind_of(grid) is GridKind.SIMULATION


def test_inline_grid_is_local(flower_task: None) -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return message

    assert kind_of(InlineGrid(app, 1)) is GridKind.LOCAL


def test_subclass_under_another_name_is_of_its_kind() -> None:
    class Renamed(flower_grids.HttpGrid):
        pass

    assert kind_of(Renamed(token="t")) is GridKind.DEPLOYMENT


@pytest.mark.parametrize("name", ["HttpGrid", "InMemoryGrid", "GrpcGrid"])
def test_grid_of_another_class_is_an_error_whatever_its_name(name: str) -> None:
    other = type(name, (Scripted,), {})
    with pytest.raises(LaunchError, match=rf"does not know the grid .*{name} .*Found flwr 1\."):
        kind_of(other([], empty_reply, at_once))


def test_wrapped_grid_is_none_that_replies_are_fetched_from() -> None:
    with pytest.raises(LaunchError, match="CohortGrid"):
        kind_of(object.__new__(CohortGrid))


@pytest.mark.parametrize("name", ["HttpGrid", "InMemoryGrid"])
def test_renamed_class_is_an_error_and_no_fallback(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = object.__new__(getattr(flower_grids, name))
    monkeypatch.delattr(flower_grids, name)
    with pytest.raises(LaunchError, match=rf"lacks flwr\.superlink\.grid\.{name}"):
        kind_of(grid)


def test_local_grids_need_no_import_of_the_superlink(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(name: str) -> None:
        raise AssertionError(name)

    monkeypatch.setattr(grids, "load", loaded)
    assert kind_of(object.__new__(type("Mine", (Scripted, LocalGrid), {}))) is GridKind.LOCAL


def test_client_of_a_network_grid_is_its_runtime_client(flower_task: None) -> None:
    link = superlink(1)
    assert runtime_client(link.grid) is link.runtime


def test_connection_of_the_real_grid_is_found() -> None:
    grid = flower_grids.HttpGrid("127.0.0.1:1", True, token="t")
    try:
        assert type(runtime_client(grid)).__name__ == "RuntimeHttpClient"
    finally:
        grid.close()


def test_grid_without_a_client_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(flower_grids.HttpGrid, "_runtime_client")
    with pytest.raises(LaunchError, match=r"HttpGrid\._runtime_client"):
        runtime_client(flower_grids.HttpGrid(token="t"))

"""A federation of real clients in every wire format: same lesson, fewer bytes."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from clients.app import app
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.launch.grid import InlineGrid
from fedsafe.models.adapters import Tensors
from fedsafe.models.compression import Wire
from fedsafe.runs.events import Events
from fedsafe.runs.records import Round
from fedsafe.runs.store import FederationStore
from fedsafe.training.session import Session
from fedsafe.weights.vectorize import flat
from server.loop import Federation
from server.transport.client_registry import ClientRegistry

WIRES: tuple[Wire, ...] = get_args(Wire)
HEADER = 128
"""Bytes of an .npy header."""


def _run(
    experiment: Experiment, session: Session, directory: Path, wire: Wire, **federation: object
) -> tuple[Tensors, list[Round]]:
    values = experiment.model_dump(mode="json")
    values["federation"] |= {"wire": wire, **federation}
    chosen = validate(values)
    grid = InlineGrid(app, chosen.federation.clients)
    registry = ClientRegistry(grid, chosen.federation.clients, Events())
    registry.wait(5)
    made = Federation(
        "main", chosen, grid, registry, session, FederationStore(directory), Events(), "a run"
    )
    return made.run(), made.store.rounds()


@pytest.mark.parametrize("wire", ["bfloat16", "int8"])
def test_short_format_teaches_nearly_the_same(
    experiment: Experiment, session: Session, tmp_path: Path, wire: Wire
) -> None:
    """Adam's first steps have the size of the learning rate however small the gradient."""
    start = flat(session.start(experiment.seed))
    whole, _ = _run(experiment, session, tmp_path / "whole", "float32")
    short, _ = _run(experiment, session, tmp_path / "short", wire)
    lesson = flat(whole) - start
    assert float((flat(short) - flat(whole)).norm() / lesson.norm()) < 0.1


@pytest.mark.parametrize("wire", WIRES)
def test_bytes_on_record_are_those_that_were_packed(
    experiment: Experiment, session: Session, tmp_path: Path, wire: Wire
) -> None:
    _, (record, *_) = _run(experiment, session, tmp_path, wire)
    start = session.start(0)
    numbers = sum(tensor.numel() for tensor in start.values())
    scales = sum(min(tensor.shape) for tensor in start.values())
    down = {"float32": 4, "bfloat16": 2, "int8": 2}[wire] * numbers + HEADER
    up = {
        "float32": 4 * numbers,
        "bfloat16": 2 * numbers,
        "int8": numbers + 4 * scales,
    }[wire] + HEADER
    found = [(client.bytes_sent, client.bytes) for client in record.clients]
    assert found == [(down, up)] * len(record.clients)
    assert (record.bytes_sent, record.bytes_received) == (len(found) * down, len(found) * up)


@pytest.mark.parametrize("wire", ["bfloat16", "int8"])
def test_stock_flower_strategy_works_in_a_short_format(
    experiment: Experiment, session: Session, tmp_path: Path, wire: Wire
) -> None:
    ours, _ = _run(experiment, session, tmp_path / "ours", wire)
    strategy = {"name": "flwr.serverapp.strategy:FedAvg"}
    theirs, _ = _run(experiment, session, tmp_path / "theirs", wire, strategy=strategy)
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=0, atol=1e-5)

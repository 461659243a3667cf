"""What server and clients send each other, without either: a letter and its honest answer."""

from collections.abc import Mapping
from typing import Any

import torch
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MetricRecord,
    RecordDict,
)

from fedsafe.models.adapters import Tensors
from fedsafe.models.wire import Wire, pack_update, unpack_adapter
from server.messages import arrays_of, packed, train_message

CLAIMS = {"num-examples": 7, "loss": 0.5, "seconds": 2.0}


def adapter(rank: int = 4, wide: int = 96, seed: int = 0) -> Tensors:
    """Return a small adapter of two tensors."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"q.lora_A.weight": (rank, wide), "q.lora_B.weight": (64, rank)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def letter(tensors: Tensors, wire: Wire, node: int = 2) -> Message:
    """Return what the server asks with."""
    return train_message(packed(tensors, wire), ConfigRecord({"server-round": 1}), node)


def content(
    asked: Message, wire: Wire, update: Tensors, metrics: Mapping[str, Any] = CLAIMS
) -> RecordDict:
    """Return what a client sends back that trained by this update."""
    sent = unpack_adapter(wire, {n: array.numpy() for n, array in arrays_of(asked).items()})
    trained = {name: tensor + update[name] for name, tensor in sent.items()}
    arrays, _ = pack_update(wire, sent, trained, None)
    record = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    return RecordDict({"arrays": record, "metrics": MetricRecord(dict(metrics))})

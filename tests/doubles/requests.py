"""Requests of a server and the honest replies of a client, built without either."""

from collections.abc import Mapping
from typing import Any

import numpy as np
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
from fedsafe.models.compression import Wire, downlink, pack_update, unpack_adapter
from fedsafe.models.packing import pack, unpack
from server.transport.train_messages import arrays_of, packed, shapes, shapes_of, train_message

CLAIMS = {"num-examples": 7, "loss": 0.5, "seconds": 2.0}


def adapter(rank: int = 4, wide: int = 96, seed: int = 0) -> Tensors:
    """Return a small adapter of two tensors."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"q.lora_A.weight": (rank, wide), "q.lora_B.weight": (64, rank)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def request(tensors: Tensors, wire: Wire, node: int = 2) -> Message:
    """Return what the server asks with."""
    config = ConfigRecord({"server-round": 1})
    return train_message(packed(tensors, wire), shapes(tensors), config, node)


def arrays_in(asked: Message, wire: Wire = "float32") -> dict[str, "np.ndarray[Any, Any]"]:
    """Return the arrays that a request carries, by tensor."""
    layout = downlink(wire, shapes_of(asked))
    return unpack(arrays_of(asked)["adapter"].numpy(), layout)


def parcel(arrays: Mapping[str, "np.ndarray[Any, Any]"]) -> ArrayRecord:
    """Return arrays as they travel."""
    return ArrayRecord({"adapter": Array(**pack(arrays))})


def content(
    asked: Message, wire: Wire, update: Tensors, metrics: Mapping[str, Any] = CLAIMS
) -> RecordDict:
    """Return what a client sends back that trained by this update."""
    sent = unpack_adapter(wire, arrays_in(asked, wire))
    trained = {name: tensor + update[name] for name, tensor in sent.items()}
    arrays, _ = pack_update(wire, sent, trained, None)
    return RecordDict({"arrays": parcel(arrays), "metrics": MetricRecord(dict(metrics))})

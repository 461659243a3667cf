"""The train messages that the server writes, with the adapter as Flower's arrays."""

from collections.abc import Mapping

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

from fedsafe.lazy import torch
from fedsafe.messages import ARRAYS, CONFIG

Tensors = Mapping[str, "torch.Tensor"]


def packed(adapter: Tensors) -> ArrayRecord:
    """Return tensors as Flower's arrays, in order."""
    return ArrayRecord({name: Array(tensor.numpy()) for name, tensor in adapter.items()})


def train_message(arrays: ArrayRecord, config: ConfigRecord, node: int) -> Message:
    """Return a train message."""
    content = RecordDict({ARRAYS: arrays, CONFIG: config})
    group = str(config["server-round"])
    return Message(content, dst_node_id=node, message_type=MessageType.TRAIN, group_id=group)

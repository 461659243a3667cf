"""The train messages that the server writes, with the adapter as Flower's arrays."""

from collections.abc import Mapping

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

from fedsafe.lazy import torch
from fedsafe.messages import ARRAYS, CONFIG, Job
from fedsafe.models.wire import Wire, pack_adapter

Tensors = Mapping[str, "torch.Tensor"]


def packed(adapter: Tensors, wire: Wire = "float32") -> ArrayRecord:
    """Return a float32 adapter as Flower's arrays, in order."""
    return ArrayRecord({name: Array(a) for name, a in pack_adapter(wire, adapter).items()})


def arrays_of(message: Message) -> ArrayRecord:
    """Return the arrays of a train message."""
    arrays = message.content[ARRAYS]
    assert isinstance(arrays, ArrayRecord)
    return arrays


def weight(message: Message) -> int:
    """Return the bytes of a message's arrays."""
    return sum(len(array.data) for array in arrays_of(message).values())


def train_message(arrays: ArrayRecord, config: ConfigRecord, node: int) -> Message:
    """Return a train message."""
    content = RecordDict({ARRAYS: arrays, CONFIG: config})
    group = str(config["server-round"])
    return Message(content, dst_node_id=node, message_type=MessageType.TRAIN, group_id=group)


def with_job(message: Message, job: Job) -> Message:
    """Return a train message with a client's work written into it."""
    config = message.content[CONFIG]
    assert isinstance(config, ConfigRecord)
    config["job"] = job.model_dump_json()
    return message

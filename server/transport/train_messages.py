"""The train messages that the server writes, with the adapter in them."""

from collections.abc import Mapping

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

from fedsafe.lazy import torch
from fedsafe.messages import (
    ADAPTER,
    ARRAYS,
    CONFIG,
    JOB,
    TENSORS,
    Job,
    read_shapes,
    write_shapes,
)
from fedsafe.models.compression import Wire, pack_adapter
from fedsafe.models.packing import Shape, pack

Tensors = Mapping[str, "torch.Tensor"]


def packed(adapter: Tensors, wire: Wire = "float32") -> ArrayRecord:
    """Return a float32 adapter as it travels: one array."""
    return ArrayRecord({ADAPTER: Array(**pack(pack_adapter(wire, adapter)))})


def named(adapter: Tensors) -> ArrayRecord:
    """Return a float32 adapter as Flower's strategies know one: an array a tensor, in order."""
    return ArrayRecord({name: Array(tensor.numpy()) for name, tensor in adapter.items()})


def shapes(adapter: Tensors) -> dict[str, Shape]:
    """Return the shapes of an adapter's tensors, in order."""
    return {name: tuple(tensor.shape) for name, tensor in adapter.items()}


def arrays_of(message: Message) -> ArrayRecord:
    """Return the arrays of a train message."""
    arrays = message.content[ARRAYS]
    assert isinstance(arrays, ArrayRecord)
    return arrays


def shapes_of(message: Message) -> dict[str, Shape]:
    """Return the shapes of the tensors in a train message, in order."""
    return read_shapes(str(_config(message)[TENSORS]))


def weight(message: Message) -> int:
    """Return the bytes of a message's arrays."""
    return sum(len(array.data) for array in arrays_of(message).values())


def train_message(
    arrays: ArrayRecord, tensors: Mapping[str, Shape], config: ConfigRecord, node: int
) -> Message:
    """Return a train message.

    Args:
        arrays: The adapter, packed.
        tensors: The shapes of its tensors.
        config: What else the client is told.
        node: Whom it is for.
    """
    config = ConfigRecord({**config, TENSORS: write_shapes(tensors)})
    content = RecordDict({ARRAYS: arrays, CONFIG: config})
    group = str(config["server-round"])
    return Message(content, dst_node_id=node, message_type=MessageType.TRAIN, group_id=group)


def with_job(message: Message, job: Job) -> Message:
    """Return a train message with a client's work written into it."""
    _config(message)[JOB] = job.model_dump_json()
    return message


def _config(message: Message) -> ConfigRecord:
    config = message.content[CONFIG]
    assert isinstance(config, ConfigRecord)
    return config

"""Drive any Flower strategy through ``configure_train`` and ``aggregate_train``.

It sees screened replies only, whole adapters as it expects them, and each client of
the cohort as a node of its own. It writes and reads float32; what travels is packed
after it wrote, and the updates that come back are added to what it wrote.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy as FlowerStrategy

from fedsafe.contracts import Updates
from fedsafe.errors import RunError
from fedsafe.lazy import torch
from fedsafe.messages import ARRAYS, CONFIG, METRICS
from fedsafe.models.compression import Wire
from fedsafe.weights.vectorize import flat, moved
from server.aggregation.interface import AggregationResult
from server.transport.train_messages import Tensors, arrays_of, named, packed, shapes, train_message
from server.validation import Reply

LIST = "[]"


@dataclass
class FlowerStrategyAggregator:
    """Aggregate with any Flower strategy, through ``configure_train`` and ``aggregate_train``."""

    strategy: FlowerStrategy
    grid: Grid
    wire: Wire = "float32"
    _written: dict[int, Message] = field(default_factory=dict)
    """What the strategy wrote this round, by client."""

    def messages(
        self, number: int, adapter: Tensors, nodes: Mapping[int, int], state: Tensors
    ) -> list[Message]:
        """Return the train messages that the strategy configures for the round's cohort.

        It sees each client as a node of its own, the same in every round.
        """
        remember(self.strategy, state)
        _enough(self.strategy, len(nodes))
        made = self.strategy.configure_train(
            number,
            named(adapter),
            ConfigRecord({"server-round": number}),
            CohortGrid(self.grid, [client + 1 for client in nodes]),
        )
        self._written = {message.metadata.dst_node_id - 1: message for message in made}
        if self._written.keys() != nodes.keys():
            raise RunError(
                f"{type(self.strategy).__name__}.configure_train wrote to {len(self._written)} of "
                f"the round's {len(nodes)} clients. Set fraction_train: 1.0, and choose the cohort "
                "with federation.sampled."
            )
        packs: dict[int, ArrayRecord] = {}
        sent = []
        for client, node in nodes.items():
            written = self._written[client]
            config = ConfigRecord(dict(written.content[CONFIG]))  # type: ignore[arg-type]
            arrays = arrays_of(written)
            if id(arrays) not in packs:  # most strategies write one record for all
                packs[id(arrays)] = packed(self._adapter(arrays, adapter), self.wire)
            sent.append(train_message(packs[id(arrays)], shapes(adapter), config, node))
        return sent

    def combine(
        self, updates: Updates, adapter: Tensors, replies: Sequence[Reply], state: Tensors
    ) -> AggregationResult:
        """Aggregate the validated replies with the strategy and return its new adapter."""
        arrays, metrics = self.strategy.aggregate_train(
            updates.round, self._rebuilt(updates, adapter, replies)
        )
        if arrays is None:
            raise RunError(
                f"{type(self.strategy).__name__} made nothing of {len(replies)} replies. Sample "
                "more clients, or check its settings."
            )
        made = {name: torch.from_numpy(arrays[name].numpy().copy()).float() for name in adapter}
        update = flat({name: made[name] - tensor for name, tensor in adapter.items()})
        if not bool(torch.isfinite(update).all()):
            raise RunError(f"{type(self.strategy).__name__} made an adapter that is not finite.")
        numbers = {k: float(v) for k, v in (metrics or {}).items() if isinstance(v, int | float)}
        return AggregationResult(update, None, memory(self.strategy), numbers, made)

    def _rebuilt(
        self, updates: Updates, adapter: Tensors, replies: Sequence[Reply]
    ) -> Iterable[Message]:
        """Return the screened replies as Flower messages, with whole adapters in them.

        Where a client would say how many examples it has stands what the server believes.
        """
        rebuilt: list[Message] = []
        bases: dict[int, Tensors] = {}
        believed = updates.weights.tolist()
        rows = zip(updates.matrix, updates.clients, believed, replies, strict=True)
        for row, client, weight, reply in rows:
            arrays = arrays_of(self._written[int(client)])
            if id(arrays) not in bases:
                bases[id(arrays)] = self._adapter(arrays, adapter)
            tensors = moved(bases[id(arrays)], row)
            claims = {"num-examples": weight}
            if "loss" in reply.claims:
                claims["loss"] = reply.claims["loss"]
            content = RecordDict({ARRAYS: named(tensors), METRICS: MetricRecord({**claims})})
            rebuilt.append(Message(content, reply_to=self._written[int(client)]))
        return rebuilt

    def _adapter(self, arrays: ArrayRecord, adapter: Tensors) -> Tensors:
        """Return what the strategy wrote as float32 tensors.

        Raises:
            RunError: It is no adapter of this model.
        """
        if {name: array.shape for name, array in arrays.items()} != shapes(adapter):
            raise RunError(
                f"{type(self.strategy).__name__}.configure_train wrote arrays of other names or "
                "shapes than the adapter it was given. It must keep them."
            )
        return {name: torch.from_numpy(arrays[name].numpy().copy()).float() for name in adapter}


def _enough(strategy: FlowerStrategy, clients: int) -> None:
    """See that a strategy will not wait for ever for more clients than the cohort has.

    Raises:
        RunError: It wants more.
    """
    for name in ("min_available_nodes", "min_train_nodes"):
        wanted = getattr(strategy, name, 0)
        if wanted > clients:
            raise RunError(
                f"{type(strategy).__name__} waits for {wanted} clients ({name}), and {clients} of "
                f"the round's cohort are there. Set federation.strategy.{name}: {clients}, or "
                "sample more clients."
            )


class CohortGrid(Grid):
    """Flower grid limited to the round's cohort, so that a strategy samples all of it."""

    def __init__(self, grid: Grid, nodes: Sequence[int]) -> None:
        self._grid, self._nodes = grid, list(nodes)

    def set_run(self, run: Any) -> None:
        """Forward to the wrapped grid."""
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        """Forward to the wrapped grid."""
        return self._grid.run

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Forward to the wrapped grid."""
        return self._grid.create_message(*args, **kwargs)

    def get_node_ids(self) -> Iterable[int]:
        """Return the cohort."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Forward to the wrapped grid."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Forward to the wrapped grid."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Forward to the wrapped grid."""
        return self._grid.send_and_receive(messages, timeout=timeout)


def memory(strategy: object) -> Tensors:
    """Return a Flower strategy's state for a checkpoint: its attributes that hold arrays.

    They are held by name or in a list, whose places are then the names.
    """
    kept = {}
    for attribute, value in vars(strategy).items():
        listed = isinstance(value, list)
        arrays = dict(enumerate(value)) if listed else value if isinstance(value, dict) else {}
        if arrays and all(isinstance(array, np.ndarray) for array in arrays.values()):
            for name, array in arrays.items():
                key = f"{attribute}{LIST if listed else ''}/{name}"
                kept[key] = torch.from_numpy(np.array(array))
    return kept


def remember(strategy: object, state: Tensors) -> None:
    """Restore a Flower strategy's state from a checkpoint."""
    attributes: dict[str, dict[str, Any]] = {}
    for key, tensor in state.items():
        attribute, _, name = key.partition("/")
        attributes.setdefault(attribute, {})[name] = tensor.numpy()
    for attribute, value in attributes.items():
        if attribute.endswith(LIST):
            places = sorted(value, key=int)
            setattr(strategy, attribute.removesuffix(LIST), [value[place] for place in places])
        else:
            setattr(strategy, attribute, value)

"""Drive any Flower strategy through ``configure_train`` and ``aggregate_train``.

It sees screened replies only, whole adapters as it expects them, and each client of
the cohort as a node of its own.
"""

from collections.abc import Iterable, Sequence
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
from server.combine import Combined
from server.messages import Tensors, packed, train_message
from server.replies import Reply


@dataclass
class FlowerCombiner:
    """Any Flower strategy, driven through ``configure_train`` and ``aggregate_train``."""

    strategy: FlowerStrategy
    grid: Grid
    _sent: list[Message] = field(default_factory=list)

    def messages(self, number: int, adapter: Tensors, nodes: Sequence[int]) -> list[Message]:
        """Let the strategy write the messages, its choice of nodes being our cohort.

        It sees each client as a node of its own, as many as are in the cohort.
        """
        everyone = list(range(1, len(nodes) + 1))
        made = self.strategy.configure_train(
            number,
            packed(adapter),
            ConfigRecord({"server-round": number}),
            CohortGrid(self.grid, everyone),
        )
        written = {message.metadata.dst_node_id: message for message in made}
        if sorted(written) != everyone:
            raise RunError(
                f"{type(self.strategy).__name__}.configure_train wrote to {len(written)} of the "
                f"round's {len(nodes)} clients. Set fraction_train: 1.0, and choose the cohort "
                "with federation.sampled."
            )
        self._sent = []
        for place, node in zip(everyone, nodes, strict=True):
            content = written[place].content
            config = ConfigRecord(dict(content[CONFIG]))  # type: ignore[arg-type]
            arrays = content[ARRAYS]
            assert isinstance(arrays, ArrayRecord)
            self._sent.append(train_message(arrays, config, node))
        return self._sent

    def combine(
        self, updates: Updates, adapter: Tensors, replies: Sequence[Reply], state: Tensors
    ) -> Combined:
        """Hand the screened replies to the strategy, and take its new adapter."""
        remember(self.strategy, state)
        arrays, metrics = self.strategy.aggregate_train(
            updates.round, self._rebuilt(updates, adapter, replies)
        )
        if arrays is None:
            raise RunError(
                f"{type(self.strategy).__name__} made nothing of {len(replies)} replies. Sample "
                "more clients, or check its settings."
            )
        made = {name: torch.from_numpy(array.numpy().copy()) for name, array in arrays.items()}
        update = torch.cat(
            [(made[name].float() - tensor).flatten() for name, tensor in adapter.items()]
        )
        if not bool(torch.isfinite(update).all()):
            raise RunError(f"{type(self.strategy).__name__} made an adapter that is not finite.")
        numbers = {k: float(v) for k, v in (metrics or {}).items() if isinstance(v, int | float)}
        return Combined(update, None, memory(self.strategy), numbers)

    def _rebuilt(
        self, updates: Updates, adapter: Tensors, replies: Sequence[Reply]
    ) -> Iterable[Message]:
        """Return the screened replies as Flower messages, with whole adapters in them."""
        asked = self._sent
        rebuilt: list[Message] = []
        for row, reply in zip(updates.matrix, replies, strict=True):
            begin, tensors = 0, {}
            for name, tensor in adapter.items():
                end = begin + tensor.numel()
                tensors[name] = tensor + row[begin:end].view_as(tensor)
                begin = end
            claims = {"num-examples": reply.examples}
            if "loss" in reply.claims:
                claims |= {"loss": reply.claims["loss"]}  # type: ignore[dict-item]
            content = RecordDict({ARRAYS: packed(tensors), METRICS: MetricRecord(claims)})  # type: ignore[arg-type]
            rebuilt.append(Message(content, reply_to=asked[len(rebuilt) % len(asked)]))
        return rebuilt


class CohortGrid(Grid):
    """A grid that knows the round's cohort only, so that a strategy samples all of it."""

    def __init__(self, grid: Grid, nodes: Sequence[int]) -> None:
        self._grid, self._nodes = grid, list(nodes)

    def set_run(self, run: Any) -> None:
        """Pass on."""
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        """Pass on."""
        return self._grid.run

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Pass on."""
        return self._grid.create_message(*args, **kwargs)

    def get_node_ids(self) -> Iterable[int]:
        """Return the cohort."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Pass on."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pass on."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Pass on."""
        return self._grid.send_and_receive(messages, timeout=timeout)


def memory(strategy: object) -> Tensors:
    """Return what a Flower strategy remembers: its attributes that hold arrays by name."""
    kept = {}
    for attribute, value in vars(strategy).items():
        arrays = value if isinstance(value, dict) else {}
        if arrays and all(isinstance(array, np.ndarray) for array in arrays.values()):
            for name, array in arrays.items():
                kept[f"{attribute}/{name}"] = torch.from_numpy(np.array(array))
    return kept


def remember(strategy: object, state: Tensors) -> None:
    """Give a Flower strategy its memory back, after a resume."""
    attributes: dict[str, dict[str, Any]] = {}
    for key, tensor in state.items():
        attribute, _, name = key.partition("/")
        attributes.setdefault(attribute, {})[name] = tensor.numpy()
    for attribute, value in attributes.items():
        setattr(strategy, attribute, value)

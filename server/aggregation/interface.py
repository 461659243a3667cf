"""Aggregator interface: what the round loop calls, and the result type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flwr.app import Message

from fedsafe.contracts import Updates
from fedsafe.lazy import torch
from server.transport.train_messages import Tensors
from server.validation import Reply


@dataclass(frozen=True)
class AggregationResult:
    """Result of aggregating one round: the new adapter and each client's influence."""

    update: "torch.Tensor"
    """Float32 (d,)."""
    influence: "torch.Tensor | None"
    """Float32 (n,), or None where the strategy does not say."""
    state: Tensors = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    adapter: Tensors | None = None
    """The new adapter to the bit, where the strategy made one; else the old plus the update."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why clients were left out before the rule, by identity."""


class Aggregator(Protocol):
    """Interface of an aggregation strategy, as the round loop calls it."""

    def messages(
        self, number: int, adapter: Tensors, nodes: Mapping[int, int], state: Tensors
    ) -> list[Message]:
        """Return one train message for each client, to its node, in order."""
        ...

    def combine(
        self, updates: Updates, adapter: Tensors, replies: Sequence[Reply], state: Tensors
    ) -> AggregationResult:
        """Aggregate the validated updates."""
        ...

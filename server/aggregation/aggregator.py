"""Build the aggregator of an experiment's strategy: a rule pipeline or a Flower strategy.

Foreign Flower strategies are driven by `server.aggregation.flower_strategy`. Knows
nothing of replies that were dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy as FlowerStrategy

from fedsafe.contracts import Updates, rules
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Strategy
from fedsafe.lazy import torch
from fedsafe.models.compression import Wire
from server.aggregation.interface import AggregationResult, Aggregator
from server.transport.train_messages import Tensors, packed, shapes, train_message
from server.validation import Reply
from strategies import build
from strategies.pipeline import Pipeline


def aggregator_of(choice: Strategy, grid: Grid, wire: Wire = "float32") -> Aggregator:
    """Return the aggregator of an experiment's strategy; its messages use this wire format.

    Raises:
        FedSafeError: There is none of that name, or its settings are wrong.
    """
    function = rules[choice.name].function
    if isinstance(function, type) and issubclass(function, FlowerStrategy):
        from server.aggregation.flower_strategy import FlowerStrategyAggregator
        from strategies.flower import load_strategy

        return FlowerStrategyAggregator(load_strategy(choice.name, choice.settings), grid, wire)
    return RuleAggregator(build(**choice.parts()), wire)


@dataclass
class RuleAggregator:
    """Aggregate with pre-aggregation filters, one rule and an optional server optimizer."""

    pipeline: Pipeline
    wire: Wire = "float32"

    def messages(
        self, number: int, adapter: Tensors, nodes: Mapping[int, int], state: Tensors
    ) -> list[Message]:
        """Return one train message for each client, to its node, in order."""
        arrays, tensors = packed(adapter, self.wire), shapes(adapter)
        return [
            train_message(arrays, tensors, ConfigRecord({"server-round": number}), node)
            for node in nodes.values()
        ]

    def combine(
        self, updates: Updates, adapter: Tensors, replies: Sequence[Reply], state: Tensors
    ) -> AggregationResult:
        """Aggregate the updates with the pipeline."""
        found = self.pipeline(updates, state)
        if not bool(torch.isfinite(found.update).all()):
            raise RunError(
                f"Rule '{self.pipeline.rule.plugin.name}' made an update that is not finite."
            )
        return AggregationResult(
            found.update,
            found.influence,
            found.state,
            found.metrics,
            left_out=found.left_out,
        )

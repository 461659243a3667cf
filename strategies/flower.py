"""Flower strategies: any rule as a `Strategy`, and loading any Strategy by its path.

The one file of this package that imports flwr. Replies are screened here: what does not
fit the arrays that were sent is dropped and logged, never averaged and never fatal.
Knows nothing of any rule.
"""

import importlib
import inspect
import logging
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.app import RecordDict as Record
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedsafe.contracts import Aggregate, State, Updates
from fedsafe.errors import ConfigError, PluginError
from fedsafe.lazy import torch
from fedsafe.plugins import suggestion
from strategies.pipeline import Choice, build
from strategies.sample_weights import average, numbers_of, weights_of
from strategies.screening import MAX_NORM
from strategies.vectorize import Layout

_log = logging.getLogger("flwr")
Believed = Literal["equal", "claimed"]


class RuleStrategy(Strategy):
    """A Flower strategy around one of our rules.

    >>> strategy = RuleStrategy("multi-krum", byzantine=2, filters=["nnm"])
    >>> strategy.start(grid, initial_arrays, num_rounds=10)  # doctest: +SKIP

    Replies are screened as FedSafe's own server screens them: what does not fit the arrays
    that were sent, is not finite or is longer (L2) than ``max_norm`` is dropped and logged.

    Attributes:
        last: What the rule made of the last round, influence by reply included; None if
            too few replies could be used.
        accepted: Node of each row of the last round.
        dropped: Node to reason, of the last round.
        state: What the rule remembers; a checkpoint.
    """

    def __init__(
        self,
        name: str = "krum",
        *,
        filters: Sequence[Choice] = (),
        optimizer: Choice | None = None,
        per_block: bool = False,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_available_nodes: int = 2,
        seed: int = 0,
        weighted: Believed = "equal",
        max_norm: float = MAX_NORM,
        **settings: Any,
    ) -> None:
        self.pipeline = build(
            {**settings, "name": name}, filters, optimizer=optimizer, per_block=per_block
        )
        self.pipeline.check_runs_anywhere()
        self.fraction_train = fraction_train
        self.fraction_evaluate = fraction_evaluate
        self.min_available_nodes = max(min_available_nodes, self.pipeline.minimum)
        self.seed = seed
        self.weighted = weighted
        self.max_norm = max_norm
        self.last: Aggregate | None = None
        self.accepted: tuple[int, ...] = ()
        self.dropped: dict[int, str] = {}
        self.state: State = {}
        self._layout: Layout | None = None
        self._asked: frozenset[int] = frozenset()

    def summary(self) -> None:
        """Log what the strategy is made of."""
        parts = [*self.pipeline.filters, self.pipeline.rule]
        if self.pipeline.optimizer is not None:
            parts.append(self.pipeline.optimizer)
        for part in parts:
            _log.info("\t├──> %s %s: %s", part.plugin.kind, part.plugin.name, dict(part.settings))
        _log.info("\t└──> at least %d nodes, weights %s", self.min_available_nodes, self.weighted)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the arrays to a seeded sample of the nodes."""
        self._layout = Layout.of({name: array.numpy() for name, array in arrays.items()})
        messages = list(self._messages(server_round, arrays, config, grid, MessageType.TRAIN))
        self._asked = frozenset(message.metadata.dst_node_id for message in messages)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Combine the replies that fit; nothing changes if there are too few.

        Raises:
            ConfigError: `configure_train` was not called before.
        """
        if (layout := self._layout) is None:
            raise ConfigError("RuleStrategy needs configure_train before aggregate_train.")
        rows, metrics, claims = self._screen(layout, replies)
        for node, reason in self.dropped.items():
            _log.warning("aggregate_train: dropped the reply of node %d: %s", node, reason)
        if len(rows) < self.pipeline.minimum:
            self.last = None
            _log.warning(
                "aggregate_train: %d usable replies, the rule needs %d; the model stays.",
                len(rows),
                self.pipeline.minimum,
            )
            return None, None
        weights = weights_of(claims if self.weighted == "claimed" else [1.0] * len(rows))
        updates = Updates(
            torch.from_numpy(np.stack(rows)),
            torch.tensor(weights),
            layout.blocks,
            server_round,
            tuple(map(str, self.accepted)),
            model=torch.from_numpy(layout.flat),
            shapes=layout.shapes,
        )
        self.last = self.pipeline(updates, self.state)
        self.state = self.last.state
        moved = layout.moved(self.last.update.numpy())
        record = MetricRecord({**average(metrics)})
        record["accepted"], record["dropped"] = len(rows), len(self.dropped)
        return ArrayRecord({name: Array(value) for name, value in moved.items()}), record

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the arrays to a seeded sample of the nodes."""
        return list(self._messages(server_round, arrays, config, grid, MessageType.EVALUATE))

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Average each metric over the replies that have it as a finite number."""
        metrics = [_numbers(reply) for reply in replies if reply.has_content()]
        return MetricRecord({**average(metrics)}) if any(metrics) else None

    def _messages(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid, kind: str
    ) -> Iterator[Message]:
        train = kind == MessageType.TRAIN
        fraction = self.fraction_train if train else self.fraction_evaluate
        if fraction <= 0:
            return
        while len(nodes := sorted(grid.get_node_ids())) < self.min_available_nodes:
            _log.info("Waiting for nodes: %d of %d.", len(nodes), self.min_available_nodes)
            time.sleep(1)
        size = max(int(len(nodes) * fraction), min(self.pipeline.minimum, len(nodes)))
        chosen = random.Random(f"{self.seed}/{kind}/{server_round}").sample(nodes, size)
        config["server-round"] = server_round
        for node in sorted(chosen):
            content = Record({"arrays": arrays, "config": config})
            yield Message(content=content, message_type=kind, dst_node_id=node)

    def _screen(
        self, layout: Layout, replies: Iterable[Message]
    ) -> tuple[list[np.ndarray[Any, Any]], list[dict[str, float]], list[float]]:
        """Return the updates that fit, with the metrics and the sizes they came with."""
        rows, metrics, claims, accepted = [], [], [], []
        self.dropped = {}
        for reply in sorted(replies, key=lambda message: message.metadata.src_node_id):
            node = reply.metadata.src_node_id
            if node in accepted or (self._asked and node not in self._asked):
                self.dropped.setdefault(node, "was not asked, or answered twice")
                continue
            try:
                rows.append(layout.delta(_arrays(reply), self.max_norm))
            except Exception as error:  # noqa: BLE001 - whatever hostile bytes bring about
                self.dropped.setdefault(node, f"{type(error).__name__}: {error}")
                continue
            accepted.append(node)
            metrics.append(_numbers(reply))
            claims.append(metrics[-1].pop("num-examples", 1.0))
        self.accepted = tuple(accepted)
        return rows, metrics, claims


def load_strategy(path: str, settings: Mapping[str, Any] | None = None) -> Strategy:
    """Return the Flower strategy that ``module:Class`` names, with its settings.

    Raises:
        PluginError: There is no such class, or it is not a Flower strategy.
        ConfigError: A setting is unknown or missing.
    """
    module_name, _, attribute = path.partition(":")
    try:
        strategy_class = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(
            f"Flower strategy '{path}' was not found: {error}. Give it as module:Class."
        ) from None
    if not (isinstance(strategy_class, type) and issubclass(strategy_class, Strategy)):
        raise PluginError(f"'{path}' is not a subclass of flwr.serverapp.strategy.Strategy.")
    given = dict(settings or {})
    known = _keywords(strategy_class)
    wrong = [name for name in given if known is not None and name not in known]
    if known is not None and wrong:
        hints = "; ".join(f"{name}: unknown.{suggestion(name, known)}" for name in wrong)
        raise ConfigError(
            f"Flower strategy '{path}' cannot be set up: {hints} Settings: {', '.join(known)}."
        )
    try:
        return strategy_class(**given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Flower strategy '{path}' cannot be set up: {error}") from error


def _keywords(kind: type) -> list[str] | None:
    """Return what a class may be given by name, or None if it takes anything.

    Follows **kwargs to its bases.
    """
    names: list[str] = []
    for base in kind.__mro__[:-1]:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        fixed = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names += [one.name for one in parameters if one.kind in fixed]
        if all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters):
            return list(dict.fromkeys(names))
    return None if names else []


def _arrays(reply: Message) -> dict[str, np.ndarray[Any, Any]]:
    if reply.has_error():
        raise ValueError(f"error reply ({reply.error.reason})")
    records = list(reply.content.array_records.values())
    if len(records) != 1:
        raise ValueError(f"{len(records)} array records instead of one")
    return {name: array.numpy() for name, array in records[0].items()}


def _numbers(reply: Message) -> dict[str, float]:
    return numbers_of(reply.content.metric_records.values())

"""Aggregation pipeline: filters, one rule, and a server optimizer if there is one.

It reports influence for the clients as they came, whatever filters merged, and keeps
the state of all its parts in one flat mapping of tensors. Knows nothing of any part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fedsafe.contracts import Aggregate, State, Updates, filters, optimizers, rules
from fedsafe.contracts.filter_order import order_problem
from fedsafe.errors import ConfigError, PluginError
from fedsafe.lazy import torch
from fedsafe.plugins import Plugin, Registry
from strategies.client_memory import influence_by_client, let_in
from strategies.kernels.blockwise import single_threaded
from strategies.kernels.gram_matrix import shared
from strategies.kernels.update_matrix import Rows

if TYPE_CHECKING:
    from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])
Choice = str | Mapping[str, Any]
"""A name, or a mapping of ``name`` and settings."""


@dataclass(frozen=True)
class Part(Generic[F]):
    """One plug-in with its settings, checked."""

    plugin: Plugin[F]
    settings: Mapping[str, Any]

    def __call__(self, *data: Any) -> Any:
        """Call the plug-in with its settings."""
        return self.plugin.function(*data, **self.settings)

    @property
    def minimum(self) -> int:
        """Smallest number of rows it can work on."""
        return self.plugin.minimum(**self.settings) if self.plugin.minimum else 1


@dataclass(frozen=True)
class Pipeline:
    """Filters, a rule and an optimizer, ready to be called once a round."""

    rule: Part[Callable[..., Any]]
    filters: tuple[Part[Callable[..., Any]], ...] = ()
    optimizer: Part[Callable[..., Any]] | None = None
    per_block: bool = False

    def __call__(self, updates: Updates, state: State | None = None) -> Aggregate:
        """Combine one round's updates.

        Args:
            updates: What the clients sent.
            state: What the last call returned; nothing in the first round.

        Raises:
            ConfigError: There are too few clients for the settings.
            ValueError: A row is not finite; the message names it.
        """
        with single_threaded():
            return self._combine(updates, state or {})

    def _combine(self, updates: Updates, state: State) -> Aggregate:
        known = _under("filters", state)
        present, memories = let_in(self.remembering, updates, known, self.minimum)
        if self.per_block and updates.blocks:
            combined = self._each_block(present, _under("rule", state))
        else:
            combined = self._once(present, _under("rule", state))
        kept = {f"rule/{key}": value for key, value in combined.state.items()}
        if self.remembering:
            memories |= influence_by_client(updates, combined.influence, present.left_out)
            kept |= {f"filters/{key}": value for key, value in memories.items()}
            metrics = {**combined.metrics, "left-out": float(len(present.left_out))}
            combined = replace(combined, metrics=metrics, left_out=present.left_out)
        update = combined.update
        if self.optimizer is not None:
            update, memory = self.optimizer(update, _under("optimizer", state))
            kept |= {f"optimizer/{key}": value for key, value in memory.items()}
        return replace(combined, update=update, state=kept)

    @property
    def remembering(self) -> tuple[Part[Callable[..., Any]], ...]:
        """Filters that remember clients; they come first."""
        return tuple(part for part in self.filters if "memory" in part.plugin.traits)

    @property
    def minimum(self) -> int:
        """Smallest number of clients that the rule and every filter can work on."""
        needed = self.rule.minimum
        for part in reversed(self.filters):
            size = part.settings.get("size", 1) if part.plugin.name == "bucketing" else 1
            needed = max((needed - 1) * size + 1, part.minimum)
            needed += part.settings.get("byzantine", 0) if "rejects" in part.plugin.traits else 0
        return needed

    def check_runs_anywhere(self) -> None:
        """See that no part needs what only FedSafe's own server computes.

        Raises:
            ConfigError: One needs the server's own update or the safety probe's scores.
        """
        for part in (self.rule, *self.filters):
            named = any(isinstance(value, Path) for value in part.settings.values())
            if "probe" in part.plugin.traits or ("root" in part.plugin.traits and not named):
                raise ConfigError(
                    f"{part.plugin.kind.capitalize()} '{part.plugin.name}' needs examples of the "
                    "server's own, which a Flower strategy has not. Run an experiment with it, or "
                    "choose another one."
                )

    def _once(self, updates: Updates, state: State) -> Aggregate:
        with shared():
            mixings: list[Tensor] = []
            for part in self.filters[len(self.remembering) :]:
                updates = _filtered(part, _ready(part, updates, mixings), mixings)
            updates = _ready(self.rule, updates, mixings)
            if updates.mixing is not None:
                mixings.append(updates.mixing)
            combined: Aggregate = self.rule(updates, state)
        influence = combined.influence
        for mixing in reversed(mixings):
            influence = (mixing.T.to(influence) @ influence).clamp_(min=0)
        return replace(combined, influence=influence)

    def _each_block(self, updates: Updates, state: State) -> Aggregate:
        """Combine every named tensor on its own; influence is weighted by size."""
        columns = updates.matrix.shape[1]
        update = torch.empty(columns, device=updates.matrix.device)
        influence = torch.zeros(len(updates.matrix), device=updates.matrix.device)
        kept: dict[str, Tensor] = {}
        metrics: dict[str, float] = {}
        for name, part in updates.blocks.items():
            share = (part.stop - part.start) / columns
            block = replace(
                updates,
                matrix=updates.matrix[:, part],
                blocks={},
                model=None if updates.model is None else updates.model[part],
                root=None if updates.root is None else updates.root[part],
            )
            combined = self._once(block, _under(name, state))
            update[part] = combined.update
            influence += share * combined.influence
            kept |= {f"{name}/{key}": value for key, value in combined.state.items()}
            for key, value in combined.metrics.items():
                metrics[key] = metrics.get(key, 0.0) + share * value
        return Aggregate(update, influence, kept, metrics)


def build(
    choice: Choice,
    filters: Sequence[Choice] = (),
    *,
    optimizer: Choice | None = None,
    per_block: bool = False,
) -> Pipeline:
    """Return the pipeline of a configuration.

    Args:
        choice: Name of a rule, or a mapping of ``name``, its settings and, if wanted,
            ``filters``, ``optimizer`` and ``per_block``, which go before the arguments.
        filters: What each update goes through first, in order.
        optimizer: What the server makes of the combined update.
        per_block: Whether every named tensor is filtered and combined on its own.

    Raises:
        PluginError: There is no such plug-in.
        ConfigError: A setting is wrong.
    """
    given = dict(choice) if isinstance(choice, Mapping) else {"name": choice}
    listed = given.pop("filters", filters) or ()
    chosen = given.pop("optimizer", optimizer)
    alone = bool(given.pop("per_block", per_block))
    parts = tuple(_part(_FILTERS, one) for one in listed)
    if problem := order_problem([part.plugin for part in parts], alone):
        raise ConfigError(problem)
    step = None if chosen is None else _part(optimizers, chosen)
    return Pipeline(_part(rules, given), parts, step, alone)


_FILTERS = filters  # the argument of `build` has the same name


def _part(registry: Registry[F], choice: Choice) -> Part[F]:
    plugin, settings = registry.chosen(choice)
    return Part(plugin, plugin.resolve(settings))


def _ready(part: Part[Any], updates: Updates, mixings: list["Tensor"]) -> Updates:
    """Form mixed rows for a plug-in that does not know of mixing."""
    if updates.mixing is None or "mixing" in part.plugin.traits:
        return updates
    mixings.append(updates.mixing)
    return replace(updates, matrix=Rows.of(updates).form(), mixing=None)


def _filtered(part: Part[Any], updates: Updates, mixings: list["Tensor"]) -> Updates:
    """Apply a filter, and see that it says how it merged rows."""
    before = len(Rows.of(updates))
    filtered: Updates = part(updates)
    if filtered.matrix is updates.matrix:
        return filtered
    if updates.mixing is not None:
        mixings.append(updates.mixing)
    added = len(filtered.matrix) - before
    if added > 0 and filtered.mixing is None and "adds" in part.plugin.traits:
        mixings.append(torch.eye(before + added, before, dtype=torch.float64))
        return filtered
    if filtered.mixing is None and added:
        raise PluginError(
            f"Filter '{part.plugin.name}' made {len(filtered.matrix)} rows of {before} without "
            "saying how. Keep the number of rows, or return the old matrix and set mixing."
        )
    return filtered


def _under(prefix: str, state: State) -> State:
    start = f"{prefix}/"
    return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}

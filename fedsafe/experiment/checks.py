"""Checks across the sections of an experiment, each problem with its path and remedy.

Reads plug-ins' settings through their registries, and so imports the modules that
define them, but no model library.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fedsafe.contracts import REGISTRIES
from fedsafe.contracts.filter_order import order_problem
from fedsafe.errors import PluginError
from fedsafe.experiment.attack_checks import attack_problems
from fedsafe.experiment.early_stopping import early_stopping_problems
from fedsafe.experiment.model_checks import alignment_problems, hardware_problems
from fedsafe.experiment.plugin_checks import choices, plugin_problems, secret_problems
from fedsafe.experiment.schema import Experiment, PluginChoice, Strategy
from fedsafe.plugins import Plugin
from fedsafe.validation_errors import Problem

__all__ = ["choices", "problems"]


def problems(experiment: Experiment) -> list[Problem]:
    """Return everything wrong with an experiment whose fields are right one by one."""
    return [
        *plugin_problems(experiment),
        *_numbers(experiment),
        *attack_problems(experiment),
        *_strategy(experiment),
        *early_stopping_problems(experiment),
        *hardware_problems(experiment),
        *alignment_problems(experiment),
    ]


def _numbers(experiment: Experiment) -> Iterator[Problem]:
    federation, training = experiment.federation, experiment.training
    if experiment.sampled > federation.clients:
        yield (
            "federation.sampled",
            f"{experiment.sampled} clients a round out of {federation.clients}. "
            f"Sample at most {federation.clients}, or add clients.",
        )
    if max(experiment.adapter.ranks, default=0) > experiment.adapter.rank:
        yield (
            "adapter.ranks",
            f"a client of rank {max(experiment.adapter.ranks)}, where the federation's adapter "
            f"has rank {experiment.adapter.rank}. Raise adapter.rank.",
        )
    if experiment.minimum_replies > experiment.sampled:
        yield (
            "federation.minimum_replies",
            f"{experiment.minimum_replies} replies wanted of {experiment.sampled} sampled clients. "
            f"Ask for at most {experiment.sampled}.",
        )
    if training.final_learning_rate > training.learning_rate:
        yield (
            "training.final_learning_rate",
            f"{training.final_learning_rate} is above training.learning_rate "
            f"{training.learning_rate}; the schedule goes down. Swap them.",
        )


def _strategy(experiment: Experiment) -> Iterator[Problem]:
    choice = experiment.federation.strategy
    path = "federation.strategy"
    if choice.optimizer is not None:
        yield from _optimizer(choice.optimizer, f"{path}.optimizer")
    try:
        plugin = REGISTRIES["rule"][choice.name]
    except PluginError as error:
        yield f"{path}.name", str(error)
        return
    if isinstance(plugin.function, type):
        yield from _flower(choice, path)
        return
    if experiment.federation.root is None:
        yield from _root(plugin, choice)
    named = [REGISTRIES["filter"][one.name] for one in _known(choice.filters)]
    if problem := order_problem(named, choice.per_block):
        yield f"{path}.filters", problem
    found = plugin.problems(choice.settings)
    yield from ((f"{path}.{name}", text) for name, text in found)
    yield from secret_problems(path, plugin, choice)
    if not found and not choice.filters:
        yield from _cohort(plugin, choice.settings, experiment)


def _known(filters: Iterable[PluginChoice]) -> list[PluginChoice]:
    """Return the filters that there are, with settings that they take; others are told of."""
    known = [one for one in filters if one.name in REGISTRIES["filter"]]
    return [one for one in known if not REGISTRIES["filter"][one.name].problems(one.settings)]


def _root(rule: Plugin[Any], choice: Strategy) -> Iterator[Problem]:
    """Yield a problem for the rule and each filter that needs the server's trusted examples.

    A filter does without them where a setting of it names a directory.
    """
    plugins = [rule]
    for one in _known(choice.filters):
        plugin = REGISTRIES["filter"][one.name]
        if not any(isinstance(value, Path) for value in plugin.resolve(one.settings).values()):
            plugins.append(plugin)
    for plugin in plugins:
        if "root" in plugin.traits:
            yield (
                "federation.root",
                f"{plugin.kind} '{plugin.name}' compares updates with one that the server trains "
                "on its own trusted examples. Name a source of them, such as {name: jsonl, "
                "path: ...}.",
            )


def _flower(choice: Any, path: str) -> Iterator[Problem]:
    """Check what a Flower Strategy class cannot be combined with."""
    if choice.filters or choice.per_block or choice.optimizer is not None:
        yield (
            path,
            f"'{choice.name}' is a Flower Strategy, which combines updates by itself: filters, "
            "optimizer and per_block belong to FedSafe's rules. Remove them.",
        )


def _optimizer(choice: PluginChoice, path: str) -> Iterator[Problem]:
    try:
        plugin = REGISTRIES["optimizer"][choice.name]
    except PluginError as error:
        yield f"{path}.name", str(error)
        return
    yield from ((f"{path}.{name}", text) for name, text in plugin.problems(choice.settings))
    yield from secret_problems(path, plugin, choice)


def _cohort(
    plugin: Plugin[Any], settings: dict[str, Any], experiment: Experiment
) -> Iterator[Problem]:
    if plugin.minimum is None:
        return
    needed = plugin.minimum(**plugin.resolve(settings))
    if experiment.sampled < needed:
        used = ", ".join(f"{name}={value}" for name, value in plugin.resolve(settings).items())
        yield (
            "federation.strategy",
            f"rule '{plugin.name}' ({used}) needs at least {needed} clients a round; "
            f"{experiment.sampled} are sampled. Lower byzantine, or sample more clients.",
        )
    elif experiment.minimum_replies < needed and experiment.federation.minimum_replies is not None:
        yield (
            "federation.minimum_replies",
            f"rule '{plugin.name}' needs at least {needed} replies; minimum_replies is "
            f"{experiment.minimum_replies}. Raise it to {needed}.",
        )

"""Checks across the sections of an experiment, each problem with its path and remedy.

Reads plug-ins' settings through their registries, and so imports the modules that
define them, but no model library.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from fedsafe.contracts import REGISTRIES
from fedsafe.errors import PluginError
from fedsafe.experiment.filter_checks import filter_problems
from fedsafe.experiment.model_checks import alignment, hardware
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.plugins import Plugin
from fedsafe.secret_settings import literal_secrets
from fedsafe.validation_errors import Problem


def problems(experiment: Experiment) -> list[Problem]:
    """Return everything wrong with an experiment whose fields are right one by one."""
    return [
        *_plugins(experiment),
        *_repeated(experiment),
        *_numbers(experiment),
        *_attack(experiment),
        *_strategy(experiment),
        *hardware(experiment),
        *alignment(experiment),
    ]


def choices(experiment: Experiment) -> Iterator[tuple[str, str, PluginChoice]]:
    """Yield (path, kind, choice) of every plug-in but the strategy's rule."""
    data, evaluation = experiment.data, experiment.evaluation
    if experiment.alignment is not None:
        yield "alignment.source", "source", experiment.alignment.source
        yield "alignment.objective", "objective", experiment.alignment.objective
    yield "data.source", "source", data.source
    yield "data.template", "template", data.template
    yield "data.partition", "partition", data.partition
    yield from _numbered(
        "federation.strategy.filters", "filter", experiment.federation.strategy.filters
    )
    yield "training.algorithm", "algorithm", experiment.training.algorithm
    if experiment.attack is not None:
        yield "attack.behaviour", "algorithm", experiment.attack.behaviour
        if experiment.attack.update is not None:
            yield "attack.update", "update attack", experiment.attack.update
        if experiment.attack.generator is not None:
            yield "attack.generator", "generator", experiment.attack.generator
    if experiment.federation.root is not None:
        yield "federation.root", "source", experiment.federation.root
    yield from _numbered("defenses", "defense", experiment.defenses)
    yield from _numbered("evaluation.suites", "suite", evaluation.suites)
    yield from _numbered("evaluation.conditions", "condition", evaluation.conditions)
    yield from _numbered("evaluation.measures", "measure", evaluation.measures)
    yield "evaluation.judge", "judge", evaluation.judge


def _numbered(
    path: str, kind: str, choices: Sequence[PluginChoice]
) -> Iterator[tuple[str, str, PluginChoice]]:
    for index, choice in enumerate(choices):
        yield f"{path}[{index}]", kind, choice


def _plugins(experiment: Experiment) -> Iterator[Problem]:
    for path, kind, choice in choices(experiment):
        try:
            plugin = REGISTRIES[kind][choice.name]
        except PluginError as error:
            yield f"{path}.name", str(error)
            continue
        for name, text in plugin.problems(choice.settings):
            yield f"{path}.{name}", text
        if kind == "defense":
            yield from filter_problems(path, choice.settings, experiment.evaluation.judge)
        yield from _secrets(path, plugin, choice)


def _repeated(experiment: Experiment) -> Iterator[Problem]:
    names = [choice.name for choice in experiment.defenses]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield (
                f"defenses[{index}].name",
                f"'{name}' is there twice, and a run keeps one result of each. Use two runs, or "
                "`fedsafe defend` with other settings.",
            )


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


def _attack(experiment: Experiment) -> Iterator[Problem]:
    attack = experiment.attack
    if "malicious" in _traits(experiment.training.algorithm):
        yield (
            "training.algorithm",
            f"'{experiment.training.algorithm.name}' is an attack, and every honest client would "
            "train with it. Name it as attack.behaviour.",
        )
    if attack is None:
        return
    if not experiment.red_team:
        yield (
            "attack",
            "an attack runs only inside a declared red team. Set red_team: true, or remove it.",
        )
    if attack.generator is None and "poison" in _traits(attack.behaviour):
        yield (
            "attack.generator",
            f"behaviour '{attack.behaviour.name}' trains on malicious examples. Say where they "
            "come from, such as {name: file, path: pairs.jsonl}.",
        )
    if attack.malicious > experiment.federation.clients:
        yield (
            "attack.malicious",
            f"{attack.malicious} malicious clients out of {experiment.federation.clients}. "
            "Lower it, or add clients.",
        )


def _secrets(path: str, plugin: Plugin[Any], choice: PluginChoice) -> Iterator[Problem]:
    """Find secrets that are written out in a plug-in's settings."""
    for name in literal_secrets(plugin.schema, choice.settings):
        yield (
            f"{path}.{name}",
            "a secret must not stand in an experiment, which is kept and copied. Put it into an "
            "environment variable, and write env:NAME here.",
        )


def _traits(choice: PluginChoice) -> frozenset[str]:
    """Return the traits of a local algorithm; none where there is no such algorithm."""
    try:
        return REGISTRIES["algorithm"][choice.name].traits
    except PluginError:
        return frozenset()


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
    if "root" in plugin.traits and experiment.federation.root is None:
        yield (
            "federation.root",
            f"rule '{choice.name}' compares updates with one that the server trains on its own "
            "trusted examples. Name a source of them, such as {name: jsonl, path: ...}.",
        )
    found = plugin.problems(choice.settings)
    yield from ((f"{path}.{name}", text) for name, text in found)
    yield from _secrets(path, plugin, choice)
    if not found and not choice.filters:
        yield from _cohort(plugin, choice.settings, experiment)


def _flower(choice: Any, path: str) -> Iterator[Problem]:
    """Check what a Flower Strategy class cannot be combined with."""
    if choice.filters or choice.per_block or choice.optimizer is not None:
        yield (
            path,
            f"'{choice.name}' is a Flower Strategy, which combines updates by itself: filters, "
            "optimizer and per_block belong to FedSafe's rules. Remove them.",
        )


def _optimizer(choice: PluginChoice, path: str) -> Iterator[Problem]:
    registry = REGISTRIES.get("optimizer")
    if registry is None:
        return
    try:
        plugin = registry[choice.name]
    except PluginError as error:
        yield f"{path}.name", str(error)
        return
    yield from ((f"{path}.{name}", text) for name, text in plugin.problems(choice.settings))
    yield from _secrets(path, plugin, choice)


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

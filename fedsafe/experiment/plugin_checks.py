"""Checks of an experiment's plug-ins: names, settings, and whether a defense can run at all."""

from collections.abc import Iterator, Sequence
from typing import Any

from fedsafe.contracts import REGISTRIES
from fedsafe.errors import PluginError
from fedsafe.experiment.filter_checks import filter_problems
from fedsafe.experiment.pipelines import pipelines_of
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.plugins import Plugin
from fedsafe.plugins.secret_settings import literal_secrets
from fedsafe.validation_errors import Problem


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
    yield from _defenses(experiment)
    yield from _numbered("evaluation.suites", "suite", evaluation.suites)
    yield from _numbered("evaluation.conditions", "condition", evaluation.conditions)
    yield from _numbered("evaluation.shields", "shield", evaluation.shields)
    yield from _numbered("evaluation.measures", "measure", evaluation.measures)
    yield from _numbered("evaluation.diagnostics", "diagnostic", evaluation.diagnostics)
    if experiment.safety_probe is not None:
        yield "safety_probe.harmful", "source", experiment.safety_probe.harmful
        yield "safety_probe.benign", "source", experiment.safety_probe.benign
    yield "evaluation.judge", "judge", evaluation.judge
    yield from _numbered("evaluation.second_judges", "judge", evaluation.second_judges)


def _numbered(
    path: str, kind: str, choices: Sequence[PluginChoice]
) -> Iterator[tuple[str, str, PluginChoice]]:
    for index, choice in enumerate(choices):
        yield f"{path}[{index}]", kind, choice


def _defenses(experiment: Experiment) -> Iterator[tuple[str, str, PluginChoice]]:
    for index, written in enumerate(experiment.defenses):
        path = f"defenses[{index}]"
        if isinstance(written, tuple):
            yield from _numbered(path, "defense", written)
        else:
            yield path, "defense", written


def plugin_problems(experiment: Experiment) -> Iterator[Problem]:
    """Yield what is wrong with the choice of a plug-in or with its settings."""
    yield from _repeated(experiment)
    for path, kind, choice in choices(experiment):
        try:
            plugin = REGISTRIES[kind][choice.name]
        except PluginError as error:
            yield f"{path}.name", str(error)
            continue
        found = plugin.problems(choice.settings)
        yield from ((f"{path}.{name}", text) for name, text in found)
        if kind == "defense":
            yield from filter_problems(path, choice.settings, experiment.evaluation.judge)
        if "red-team" in plugin.traits and not experiment.red_team:
            yield path, _attacks(plugin, choice)
        if not found:
            yield from _card(plugin, path, choice, experiment)
            yield from _traits(plugin, path, choice, experiment)
        yield from secret_problems(path, plugin, choice)


def _attacks(plugin: Plugin[Any], choice: PluginChoice) -> str:
    does = "trains an attacker" if plugin.kind == "defense" else "is an attack"
    return (
        f"{plugin.kind} '{choice.name}' {does}, and runs only inside a declared red team. Set "
        "red_team: true, or remove it."
    )


def secret_problems(path: str, plugin: Plugin[Any], choice: PluginChoice) -> Iterator[Problem]:
    """Find secrets that are written out in a plug-in's settings."""
    for name in literal_secrets(plugin.schema, choice.settings):
        yield (
            f"{path}.{name}",
            "a secret must not stand in an experiment, which is kept and copied. Put it into an "
            "environment variable, and write env:NAME here.",
        )


def _card(
    plugin: Plugin[Any], path: str, choice: PluginChoice, experiment: Experiment
) -> Iterator[Problem]:
    """Check whether a defense can run with what it is given, as its card says."""
    if reason := plugin.cannot(choice.settings):
        yield path, f"'{choice.name}' cannot run: {reason}"
    quantization = experiment.model.quantization
    needs = plugin.card.needs if plugin.card else ()
    if "full-precision weights" in needs and quantization != "none":
        yield (
            path,
            f"'{choice.name}' needs full-precision weights; model.quantization is {quantization}. "
            "Set it to none, or choose another defense.",
        )


def _traits(
    plugin: Plugin[Any], path: str, choice: PluginChoice, experiment: Experiment
) -> Iterator[Problem]:
    """Check what a plug-in asks of the experiment by its traits."""
    own = choice.settings.get("refusals")
    if "examples" in plugin.traits and experiment.safety_probe is None and not own:
        yield (
            "safety_probe",
            f"{plugin.kind} '{choice.name}' looks at harmful and benign requests that no "
            "evaluation asks. Name their sources, such as {harmful: {name: micro-safety}, benign: "
            "{name: micro, count: 100}}.",
        )


def _repeated(experiment: Experiment) -> Iterator[Problem]:
    pipelines = pipelines_of(experiment.defenses)
    for index, steps in enumerate(pipelines):
        if steps in pipelines[:index]:
            name = "+".join(choice.name for choice in steps)
            yield (
                f"defenses[{index}]",
                f"'{name}' is there twice with the same settings. Remove one, or change a setting.",
            )

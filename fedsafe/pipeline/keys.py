"""Stage keys: the sha256 of everything that a stage's adapter depends on.

Files are hashed by their content, wherever they lie, so two experiments that differ only in
their attack or defenses have clean controls of one key. Of code, only the modules of plug-ins
that others wrote are part of it, named by ``module:object`` or by an entry point; the versions
of packages are not.
"""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedsafe.contracts import REGISTRIES, ShieldChoice
from fedsafe.experiment.filter_checks import default_filter
from fedsafe.experiment.schema import Alignment, Experiment, PluginChoice
from fedsafe.runs.files import digest, file_digest

Inputs = dict[str, str]
"""What a stage depends on: a name for a person, and a value or its sha256."""
OURS = frozenset({"fedsafe", "clients", "server", "strategies"})
ELSEWHERE = (
    *("name", "seed", "red_team", "control", "model", "adapter", "alignment"),
    *("defenses", "second_attack", "evaluation", "safety_probe"),
)
"""Parts of an experiment that a federation does not depend on, or that are named singly."""


def key(inputs: Mapping[str, str]) -> str:
    """Return the key of a stage with these inputs."""
    return digest(json.dumps(dict(inputs), sort_keys=True))


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the inputs that differ."""
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def base_inputs(experiment: Experiment, fingerprint: str, start: str = "") -> Inputs:
    """Return what the adapter that training begins with depends on.

    Args:
        experiment: Its seed, model and adapter settings.
        fingerprint: Of base model, tokenizer and template.
        start: sha256 of the adapter that training begins with; empty: a fresh one.
    """
    settings = experiment.adapter.model_dump(mode="json", exclude={"start", "start_mode"})
    return {
        "seed": str(experiment.seed),
        "base model": fingerprint,
        "model settings": _model(experiment),
        "adapter settings": _hash(settings),
        **({"start adapter": start} if start else {}),
    }


def alignment_inputs(
    experiment: Experiment, fingerprint: str, start: str, alignment: Alignment, samples: object
) -> Inputs:
    """Return what an aligned adapter depends on.

    Args:
        experiment: Its seed, adapter and training settings.
        fingerprint: Of base model, tokenizer and template.
        start: sha256 of the adapter that is aligned; empty: a fresh one.
        alignment: Its settings; of the source the samples count, not where they lie.
        samples: The aligned examples, in order.
    """
    settings = alignment.model_dump(mode="json", exclude={"source"})
    limits = [experiment.training.model_dump(mode="json"), experiment.data.max_length]
    return {
        **base_inputs(experiment, fingerprint, start),
        "aligned data": digest(repr(samples)),
        "alignment settings": _hash(settings),
        "training settings": _hash(limits),
    }


def federation_inputs(
    experiment: Experiment,
    fingerprint: str,
    data: Mapping[str, str],
    apart: str = "",
    start: str = "",
) -> Inputs:
    """Return what a federation's adapter depends on.

    Args:
        experiment: Of this federation: without its attack for a control.
        fingerprint: Of base model, tokenizer and template.
        data: sha256 of the clients' data.
        apart: Identity of a run on separate machines, where the data and the draws are its own
            and no other run can share a stage.
        start: sha256 of the adapter of the first round; empty: a fresh one.
    """
    parts = experiment.model_dump(mode="json", exclude=set(ELSEWHERE))
    del parts["federation"]["keep_checkpoints"]
    watched = parts["federation"].pop("early_stopping")
    data_settings = parts.pop("data")
    del data_settings["source"]  # the content counts, not where it lies
    attack, federation = parts.pop("attack"), parts.pop("federation")
    if experiment.safety_probe is not None and _has_probe(experiment):
        shown = [experiment.safety_probe, *experiment.evaluation.suites]  # the latter left out
        federation["safety_probe"] = [one.model_dump(mode="json") for one in shown]
    seen = experiment.evaluation.model_dump(mode="json") if watched else {}
    if attack is not None:  # its generator writes with these
        asked = experiment.evaluation
        attack["writing"] = [asked.max_new_tokens, asked.batch_size]
    return {
        **base_inputs(experiment, fingerprint, start),
        "data": _hash(sorted(data.values())),
        "data settings": _hash(data_settings),
        "federation settings": _hash(federation),
        "attack": _hash(attack),
        "training settings": _hash(parts),
        **({"early stopping": _hash([watched, seen])} if watched else {}),
        **({"run": apart} if apart else {}),
    }


def defense_inputs(
    experiment: Experiment,
    fingerprint: str,
    adapter: str,
    choice: PluginChoice,
    avoid: frozenset[str],
    start: str = "",
    shield: ShieldChoice | None = None,
) -> Inputs:
    """Return what a defended adapter depends on.

    Args:
        experiment: Its seed, evaluation and training defaults.
        fingerprint: Of base model, tokenizer and template.
        adapter: sha256 of the adapter that is defended.
        choice: The defense with all its settings, defaults included.
        avoid: Instructions that defense data must not contain.
        start: sha256 of the adapter before the federation; empty: a fresh one.
        shield: What the defended model is served with.
    """
    limits = (experiment.data.max_length, experiment.evaluation.max_new_tokens)
    held_out = experiment.evaluation.held_out
    return {
        **base_inputs(experiment, fingerprint, start),
        "defended adapter": adapter,
        "defense": _hash(choice.model_dump(mode="json")),
        "filter": default_filter(experiment.evaluation.judge),
        "training settings": _hash([experiment.training.model_dump(mode="json"), *limits]),
        "evaluation prompts": _hash([sorted(avoid), experiment.evaluation.overlap]),
        **({"held out": _hash(sorted(held_out))} if held_out else {}),
        **({"shield": _hash([shield.name, dict(shield.settings)])} if shield else {}),
    }


def _has_probe(experiment: Experiment) -> bool:
    """Return whether a filter works with scores of the safety probe."""
    registry, chosen = REGISTRIES["filter"], experiment.federation.strategy.filters
    return any("probe" in registry[choice.name].traits for choice in chosen)


def evaluation_digest(experiment: Experiment) -> str:
    """Return the sha256 of judges, measures and diagnostics: settings, files, others' code."""
    evaluation = experiment.evaluation
    wanted = {"judge", "second_judges", "measures"}
    settings = evaluation.model_dump(mode="json", include=wanted)
    if evaluation.diagnostics:  # with what they compare: requests, and the model before
        asked = experiment.model_dump(mode="json", include={"safety_probe", "alignment", "seed"})
        settings["diagnostics"] = [one.model_dump(mode="json") for one in evaluation.diagnostics]
        settings["compared with"] = {**asked, "start": str(experiment.adapter.start)}
    return _hash(settings)


def _model(experiment: Experiment) -> str:
    return _hash(experiment.model.model_dump(mode="json", exclude={"path", "revision"}))


def _hash(value: Any) -> str:
    return digest(json.dumps(_by_content(value), sort_keys=True, default=str))


def _by_content(value: Any, name: str = "") -> Any:
    """Return a value with the content's sha256 in place of each file, and beside each plug-in."""
    if isinstance(value, dict):
        return {key: _by_content(item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_content(item) for item in value]
    if not isinstance(value, str):
        return value
    if name == "name":
        code = _code(value)
        return [value, code] if code or ":" in value else value
    looks_like_a_path = "/" in value or "." in value
    return (looks_like_a_path and _content(Path(value).expanduser())) or value


def _content(path: Path) -> str:
    """Return the sha256 of a file, or of a directory's files; "" for what is neither."""
    try:
        if path.is_file():
            return file_digest(path)
        if path.is_absolute() and path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return digest(*(f"{file.relative_to(path)} {file_digest(file)}" for file in files))
    except (OSError, ValueError):  # no name of a file, or none that can be read
        pass
    return ""


def _code(name: str) -> str:
    """Return the sha256 of the module of a plug-in that is none of ours, by path or by name."""
    modules = {name.partition(":")[0]} if ":" in name else _foreign_modules(name)
    return "".join(_of_module(module) for module in sorted(modules))


def _foreign_modules(name: str) -> set[str]:
    """Return the modules of registered plug-ins of a name, of whatever kind, that others wrote."""
    found = {
        registry[name].function.__module__ for registry in REGISTRIES.values() if name in registry
    }
    return {module for module in found if module.partition(".")[0] not in OURS}


def _of_module(module: str) -> str:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return ""
    return _content(Path(spec.origin)) if spec is not None and spec.origin else ""

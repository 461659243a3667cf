"""Pre-flight checks of an experiment: files, first rows, model, memory.

Nothing is fetched from the network and no weight is loaded.
"""

import random
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from fedsafe.app import activate
from fedsafe.contracts import REGISTRIES, Sample, templates
from fedsafe.errors import FedSafeError
from fedsafe.experiment.checks import choices
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.micro.base import base_file, is_embedded, shipped
from fedsafe.plugins import Plugin
from fedsafe.validation_errors import Problem

ROWS = 200
"""Rows of a data file that are read."""
ELSEWHERE = {
    "client": "examples of the clients, which lie with them",
    "hub": "data of the Hugging Face hub",
}
"""Sources that are not on this machine."""


def look(experiment: Experiment) -> list[Problem]:
    """Return what is wrong with the files, the model and the memory that an experiment needs."""
    activate()
    found = [problem for one in choices(experiment) for problem in _files(*one)]
    found += _model(experiment)
    return found if found else _memory(experiment)


def unchecked(experiment: Experiment) -> list[str]:
    """Return what `look` cannot see from here, a phrase each."""
    found = [
        f"{path}: {ELSEWHERE[choice.name]}"
        for path, kind, choice in choices(experiment)
        if kind == "source" and choice.name in ELSEWHERE
    ]
    path = experiment.model.path
    if not is_embedded(path) and not Path(path).expanduser().is_dir():
        found.append(f"model.path: '{path}', a model of the Hugging Face hub")
    return found


def memory(experiment: Experiment) -> tuple[str, int]:
    """Return the device and the bytes that training takes there; 0 for no local model."""
    if not Path(experiment.model.path).expanduser().is_dir():
        return "", 0
    from fedsafe.models.base import needed

    found = needed(
        experiment.model, experiment.adapter, experiment.training, experiment.data.max_length
    )
    return ("", 0) if found is None else (found[0], found[1].total)


def _files(path: str, kind: str, choice: PluginChoice) -> Iterator[Problem]:
    """Look for a plug-in's files and read their first rows."""
    try:
        plugin = REGISTRIES[kind][choice.name]
        settings = plugin.resolve(choice.settings)
    except FedSafeError:
        return  # said already
    named = {name: value for name, value in settings.items() if isinstance(value, Path)}
    missing = False
    for name, value in named.items():
        if not value.exists():
            missing = True
            told = f"there is no file {value}. A relative path starts from the experiment's file, "
            yield f"{path}.{name}", f"{told}or else from {Path.cwd()}. Correct it."
    if not missing:
        yield from _rows(f"{path}.{next(iter(named), 'name')}", kind, plugin, settings)


def _rows(
    path: str, kind: str, plugin: Plugin[Any], settings: Mapping[str, Any]
) -> Iterator[Problem]:
    """Read a little of what a source, a suite or a file of an attack gives."""
    few = dict(settings)
    if "limit" in few:
        few["limit"] = min(few["limit"] or ROWS, ROWS)
    ours = ":" not in plugin.name and plugin.name not in ELSEWHERE
    try:
        if kind in {"source", "suite"} and ours:
            plugin.function(0, **few)
        elif kind == "generator" and plugin.name == "file":
            list(islice(plugin.function(None, random.Random(0), **few), 1))
    except FedSafeError as error:
        yield path, str(error)
    except Exception as error:  # noqa: BLE001 - whatever a broken file brings about
        yield path, f"it cannot be read: {type(error).__name__}: {error}. Correct the file."


def _model(experiment: Experiment) -> Iterator[Problem]:
    path = experiment.model.path
    if is_embedded(path):
        if not base_file(path).is_file():
            yield "model.path", f"the micro base '{path}' is not one of {', '.join(shipped())}."
        return
    if not Path(path).expanduser().is_dir():
        if path.startswith(("/", "~", ".")) or path.count("/") > 1 or path.endswith("/"):
            yield "model.path", f"there is no directory {path}. Give one that holds a model."
        return
    from fedsafe.models.files import load_tokenizer, locate
    from fedsafe.models.model_size import read_config

    try:
        directory = locate(experiment.model)
        read_config(directory)
        tokenizer = load_tokenizer(directory)
    except FedSafeError as error:
        yield "model.path", str(error)
        return
    choice = experiment.data.template
    try:
        templates[choice.name].configure(choice.settings)(tokenizer, Sample("a", "b"))
    except FedSafeError as error:
        yield "data.template", str(error)


def _memory(experiment: Experiment) -> list[Problem]:
    """Say where training takes more memory than this machine has left."""
    try:
        device, count = memory(experiment)
    except FedSafeError as error:
        return [("adapter", str(error))]
    if not count:
        return []
    from fedsafe.lazy import torch
    from fedsafe.models.device_memory import free_bytes
    from fedsafe.models.memory import gib

    if device == "cuda" and not torch.cuda.is_available():
        return [("model.device", "no CUDA device is here. Use auto or cpu, or another machine.")]
    free = free_bytes(torch.device(device))
    if free is None or count <= free:
        return []
    return [
        (
            "training",
            f"takes up to {gib(count)} on {device}, and {gib(free)} are free. Lower "
            "training.batch_size or data.max_length, set training.checkpointing: true, or store "
            "the model in fewer bits with model.quantization.",
        )
    ]

"""Parse and check `fedsafe client` options: data, model, attack, plug-ins.

Everything is checked before anything starts.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsafe.app import activate
from fedsafe.contracts import REGISTRIES
from fedsafe.data.text_files import suffix_of
from fedsafe.errors import ConfigError, PluginError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.experiment.yaml_text import scalar_or_collection
from fedsafe.micro.base import is_embedded
from fedsafe.plugin_modules import imported, search_in

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""Of a model or data set on the hub: owner/name."""
SUFFIXES = {
    ".jsonl": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
"""Source plug-in that reads a file of this suffix."""


def read_data(text: str) -> PluginChoice:
    """Return the source that ``--data`` names: a file, or ``NAME:key=value,...``.

    Raises:
        ConfigError: It is neither, or a setting is wrong.
        PluginError: There is no source of that name.
    """
    path = Path(text).expanduser()
    suffix = suffix_of(path)
    if suffix in SUFFIXES and (path.exists() or ":" not in text):
        return choice("source", SUFFIXES[suffix], {"path": path}, "--data")
    name, colon, rest = text.partition(":")
    if not colon:
        raise ConfigError(
            f"--data {text}: give a file that ends in {', '.join(SUFFIXES)}, or a source with its "
            "settings, such as hub:path=owner/name,split=train."
        )
    settings: dict[str, Any] = {}
    for part in filter(None, re.split(r",(?=\s*\w+=)", rest)):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"--data {text}: '{part}' is no setting. Write key=value.")
        settings[key.strip()] = _value(value, f"--data {text}")
    return choice("source", name, settings, "--data")


def read_conduct(
    behaviour: str | None, generator: str | None, changes: list[str]
) -> tuple[PluginChoice | None, PluginChoice | None]:
    """Parse an attacker's behaviour and its generator of malicious examples.

    Args:
        behaviour: Name of the behaviour; None: an honest client's with malicious examples.
        generator: Name of the generator; None: the experiment's.
        changes: Settings, each ``behaviour.key=value`` or ``generator.key=value``.

    Raises:
        ConfigError: A setting is wrong, or belongs to neither.
        PluginError: There is no such plug-in.
    """
    settings: dict[str, dict[str, Any]] = {"behaviour": {}, "generator": {}}
    for change in changes:
        path, equals, value = change.partition("=")
        kind, dot, key = path.strip().partition(".")
        if not equals or not dot or kind not in settings:
            raise ConfigError(
                f"--set {change}: write behaviour.KEY=VALUE or generator.KEY=VALUE, such as "
                "behaviour.share=0.5."
            )
        settings[kind][key] = _value(value, f"--set {change}")
    if generator is None and settings["generator"]:
        raise ConfigError("--set generator.…: name the generator with --generator.")
    if behaviour is None and settings["behaviour"]:
        raise ConfigError("--set behaviour.…: name the behaviour with --behaviour.")
    return (
        None
        if behaviour is None
        else choice("algorithm", behaviour, settings["behaviour"], "--behaviour"),
        None
        if generator is None
        else choice("generator", generator, settings["generator"], "--generator"),
    )


def check_red_team(
    red_team: bool,
    contaminated: bool,
    behaviour: str | None,
    generator: str | None,
    changes: list[str],
    collude: Path | None = None,
) -> None:
    """Check that an operator who takes part in a red team says so, and says as what.

    Raises:
        ConfigError: It is said by halves.
    """
    if contaminated and (behaviour or collude):
        raise ConfigError(
            "--contaminated is for honest clients. Leave it out, or --behaviour and --collude."
        )
    if red_team and not contaminated and behaviour is None:
        raise ConfigError(
            "--red-team: say what the attacker does with --behaviour NAME; `fedsafe plugins list "
            "algorithm` shows what there is."
        )
    if not red_team and (contaminated or behaviour or generator or changes or collude):
        raise ConfigError(
            "--behaviour, --contaminated, --generator, --set and --collude are for red teams. "
            "Add --red-team to say that this is meant, or leave them out."
        )


def check_collude(directory: Path, clients: int) -> Path:
    """Return the absolute path of the attackers' own directory, which must be there.

    Raises:
        ConfigError: It is no directory that can be written to, or several clients of this
            command would wait for each other in one trainer.
    """
    found = directory.expanduser().absolute()
    if not os.access(found, os.W_OK) or not found.is_dir():
        raise ConfigError(
            f"--collude {directory} is no directory that this user can write to. Make one that "
            "all attackers reach, such as on a network file system."
        )
    if clients > 1:
        raise ConfigError(
            f"--collude: {clients} clients of one trainer are worked through one after the other, "
            "and colluders wait for each other. Start `fedsafe client` once for each --key."
        )
    return found


def choice(kind: str, name: str, settings: Mapping[str, Any], option: str) -> PluginChoice:
    """Return a plug-in with its settings, checked; paths become absolute, and must be there.

    Raises:
        ConfigError: A setting is wrong.
        PluginError: There is no such plug-in.
    """
    activate()
    plugin = REGISTRIES[kind][name]
    resolved = plugin.resolve(settings)
    absolute: dict[str, Any] = {}
    for key, value in resolved.items():
        if key not in settings:
            continue
        absolute[key] = settings[key]
        if isinstance(value, Path):
            path = value.expanduser().resolve()
            if not path.is_file():
                raise ConfigError(f"{option}: there is no file {path}.")
            absolute[key] = str(path)
    return PluginChoice(name=name, **absolute)


def read_plugins(paths: list[str]) -> tuple[str, ...]:
    """Return plug-ins that the server's experiment may name by their paths.

    Raises:
        ConfigError: One is no ``module:object``, or is not installed here.
    """
    search_in(Path.cwd(), last=True)
    for path in paths:
        try:
            imported(path, "plug-in")
        except PluginError as error:
            raise ConfigError(
                f"--plugin {path}: {error} Write MODULE:OBJECT, as the server's experiment does."
            ) from None
    return tuple(paths)


def check_model(path: str) -> str:
    """Return where the base model lies on this machine, or its name on the hub.

    Raises:
        ConfigError: There is no Hugging Face model.
    """
    directory = Path(path).expanduser()
    if is_embedded(path) or (HUB_NAME.fullmatch(path) and not directory.exists()):
        return path
    if not (directory / "config.json").is_file():
        raise ConfigError(
            f"--model {path} is no directory of a Hugging Face model: it has no config.json. Give "
            "the directory that the model was downloaded to, or its OWNER/NAME on the hub."
        )
    return str(directory.resolve())


def check_adapter(path: Path | None) -> str | None:
    """Return where the adapter lies that is merged into the base weights; None: none is.

    Raises:
        ConfigError: There is none.
    """
    if path is None:
        return None
    directory = path.expanduser()
    if not (directory / "adapter_config.json").is_file():
        raise ConfigError(
            f"--start-adapter {path} is no directory of a PEFT adapter: it has no "
            "adapter_config.json. Give a copy of the server's adapter.start."
        )
    return str(directory.resolve())


def read_device(
    gpu: str | None, device: str | None, trainer: Path | None
) -> tuple[str | None, str | None]:
    """Return which GPUs the trainer sees, and the device it is told; None: as it is.

    Raises:
        ConfigError: The options contradict each other, or name no device.
    """
    if gpu is not None and (device is not None or trainer is not None):
        other = "--device" if device is not None else "--trainer"
        raise ConfigError(f"--gpu chooses the device of a trainer of one's own; leave out {other}.")
    if gpu is not None and not gpu.isdecimal() and not gpu.startswith(("GPU-", "MIG-")):
        raise ConfigError(f"--gpu {gpu}: give a GPU's number or its UUID, as `nvidia-smi -L` does.")
    if device not in (None, "cpu", "cuda", "auto"):
        raise ConfigError(f"--device {device}: give cpu or cuda; --gpu N chooses among GPUs.")
    if gpu is not None:
        return gpu, "cuda"
    return ("" if device == "cpu" else None), device


def _value(text: str, where: str) -> Any:
    try:
        return scalar_or_collection(text)
    except ConfigError:
        raise ConfigError(f"{where}: {text!r} is not a YAML value. Quote it.") from None

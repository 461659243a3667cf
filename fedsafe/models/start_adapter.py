"""The adapter that a federation begins from: checked before any weight is loaded, read, merged.

Kept, it is the first global adapter, and the federation goes on training it. Merged, its
product becomes part of the base weights, which then have a fingerprint of their own.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsafe.errors import ModelError, reason_of
from fedsafe.experiment.schema import Adapter, Experiment
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.models.attach import attach
from fedsafe.models.files import fingerprint, locate
from fedsafe.models.model_size import read_config
from fedsafe.runs.files import digest

Shapes = dict[str, tuple[int, ...]]
STARTS = "init_lora_weights"
"""Setting that no longer matters once an adapter has been trained."""


def check_start(experiment: Experiment) -> None:
    """Check the start adapter against the base model and the experiment; load no weights.

    Raises:
        ModelError: It is not there or is none, was made for another base model, or is to be kept
            and has another rank, scale, setting or other modules than the experiment's.
    """
    adapter = experiment.adapter
    if adapter.start is None:
        return
    directory = Path(adapter.start).expanduser()
    if not directory.is_dir():
        raise ModelError(f"adapter.start: there is no directory {directory}.")
    own = adapters.spec_of(directory)
    shapes, base = _header(directory)
    home = locate(experiment.model)
    here = fingerprint(home)
    if base is not None and base != here:
        raise ModelError(
            f"adapter.start {directory} was trained on a base model of fingerprint {base[:12]}; "
            f"{experiment.model.path} has {here[:12]}. Use the base model that it was trained on."
        )
    if adapter.kept_start is not None:
        _check_settings(directory, own, adapter)
    _check_shapes(directory, shapes, _shapes(home, own if adapter.merged_start else adapter))


def read_start(adapter: Adapter) -> adapters.Tensors | None:
    """Return the adapter that the federation goes on training; None: a fresh one.

    Raises:
        ModelError: It cannot be read.
    """
    kept = adapter.kept_start
    return None if kept is None else adapters.load(Path(kept).expanduser())


def merge_start(base: Any, directory: str) -> tuple[Any, str]:
    """Add a start adapter's product to the base weights.

    Args:
        base: The base model; its weights are changed, in their own type.
        directory: Where the start adapter lies.

    Returns:
        The model without the adapter, and the sha256 of what was merged into it.

    Raises:
        ModelError: The adapter cannot be read or does not fit.
    """
    home = Path(directory).expanduser()
    spec, tensors = adapters.spec_of(home), adapters.load(home)
    model = attach(base, spec)
    adapters.write(model, tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the rounding that the documentation names
        merged = model.merge_and_unload()
    if hasattr(merged, "peft_config"):
        del merged.peft_config
    return merged, digest(adapters.digest(tensors), spec.model_dump_json())


def _header(directory: Path) -> tuple[Shapes, str | None]:
    """Return the shapes of an adapter's tensors, and the fingerprint of its base if it says it."""
    from safetensors import SafetensorError, safe_open

    path = directory / adapters.WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return shapes, (file.metadata() or {}).get(adapters.BASE)
    except (SafetensorError, OSError, ValueError) as error:
        reason = reason_of(error)
        raise ModelError(
            f"adapter.start: {path} cannot be read: {reason}. Copy it again."
        ) from None


def _check_settings(directory: Path, own: Adapter, wanted: Adapter) -> None:
    """Compare what an adapter was made with to what the experiment trains."""
    for name in ("rank", "alpha"):
        there, here = getattr(own, name), getattr(wanted, name)
        if there != here:
            raise ModelError(
                f"adapter.start {directory} has {name} {there:g}, and adapter.{name} is {here:g}. "
                f"Set adapter.{name}: {there:g}, or adapter.start_mode: merge."
            )
    theirs, ours = _lasting(own.peft), _lasting(wanted.peft)
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name):
            raise ModelError(
                f"adapter.start {directory} was made with {name} {theirs.get(name)!r}, and "
                f"adapter.peft has {ours.get(name)!r}. Make them equal, or set "
                "adapter.start_mode: merge."
            )


def _lasting(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in settings.items() if name != STARTS and value}
    return {n: list(v) if isinstance(v, tuple) else v for n, v in kept.items() if v != "none"}


def _check_shapes(directory: Path, found: Shapes, wanted: Shapes) -> None:
    trained = {name for name in found if ".lora_" in name}
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(trained - wanted.keys())
    if missing or extra:
        which = f"lacks {missing[0]}" if missing else f"has {extra[0]} besides"
        raise ModelError(
            f"adapter.start {directory} {which}: it was made for another base model, or for other "
            "modules than adapter.targets names. Give its base model and its targets."
        )
    for name, shape in wanted.items():
        if found[name] != shape:
            raise ModelError(
                f"adapter.start {directory}: {name} is {found[name]}, and this base model wants "
                f"{shape}. It was made for another base model."
            )


def _shapes(directory: Path, adapter: Adapter) -> Shapes:
    """Return the shapes of the tensors of an adapter in a model, from its config.json alone."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of each other is not the user's
        model = AutoModelForCausalLM.from_config(read_config(directory), trust_remote_code=False)
        named = adapters.parameters(attach(model, adapter, initialise=False))
    return {name: tuple(parameter.shape) for name, parameter in named.items()}

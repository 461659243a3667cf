"""Which settings of PEFT's LoraConfig an adapter may have, and those of a saved adapter.

Everything not named here must be as PEFT has it by default: an unknown setting may change
what the tensors mean. PiSSA: Meng et al., NeurIPS 2024; OLoRA: Büyükakyüz, 2024; DoRA: Liu
et al., ICML 2024; rank-stabilised LoRA: Kalajdzievski, 2023.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

from fedsafe.errors import ModelError, reason_of
from fedsafe.experiment.schema import Adapter

CONFIG = "adapter_config.json"
PLAIN_STARTS: Final = (True, False, "gaussian", "orthogonal", "eva")
"""Initialisations that leave the base weights as they are."""
PRINCIPAL_STARTS: Final = re.compile(r"pissa(_niter_\d{1,3})?|olora", re.IGNORECASE)
"""Those that take the adapter's start out of the base weights, from these weights alone."""


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, int) or (
        isinstance(value, list | tuple) and all(isinstance(one, int) for one in value)
    )


def _numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(number, int | float) and number > 0
        for name, number in value.items()
    )


def _start(value: Any) -> bool:
    return value in PLAIN_STARTS or (
        isinstance(value, str) and PRINCIPAL_STARTS.fullmatch(value) is not None
    )


ALLOWED: Final[Mapping[str, Callable[[Any], bool]]] = {
    "use_rslora": lambda value: isinstance(value, bool),
    "use_dora": lambda value: isinstance(value, bool),
    "lora_bias": lambda value: isinstance(value, bool),
    "fan_in_fan_out": lambda value: isinstance(value, bool),
    "rank_pattern": _numbers,
    "alpha_pattern": _numbers,
    "modules_to_save": _texts,
    "exclude_modules": _texts,
    "layers_to_transform": _whole_numbers,
    "layers_pattern": lambda value: isinstance(value, str) or _texts(value),
    "bias": lambda value: value in ("none", "all", "lora_only"),
    "init_lora_weights": _start,
}
"""Settings that may be set, and whether a value of theirs can be used."""
OWN: Final = frozenset({"r", "lora_alpha", "lora_dropout", "target_modules"})
"""Settings that are `Adapter`'s own."""
NO_MATTER: Final = frozenset(
    {
        *("peft_type", "task_type", "peft_version", "auto_mapping", "base_model_name_or_path"),
        *("revision", "inference_mode", "runtime_config", "megatron_core"),
        *("eva_config", "loftq_config"),
    }
)
"""Settings that say nothing about the tensors, or nothing once those are trained."""


def lora_options(spec: Adapter) -> dict[str, Any]:
    """Return the arguments of a LoraConfig beside rank, alpha, dropout and targets.

    Raises:
        ModelError: One of them is unknown, or has a value that cannot be used.
    """
    return {"bias": "none", **_checked("adapter.peft", spec.peft)}


def is_default(spec: Adapter) -> bool:
    """Tell whether an adapter starts as PEFT's do by default."""
    return spec.peft.get("init_lora_weights", True) is True


def changes_base(spec: Adapter) -> bool:
    """Tell whether attaching an adapter changes the base weights."""
    return spec.peft.get("init_lora_weights", True) not in PLAIN_STARTS


def spec_of(directory: Path) -> Adapter:
    """Return the adapter settings that a saved adapter was made with.

    Raises:
        ModelError: It is no LoRA adapter, or has a setting that is not supported.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise ModelError(f"{directory} holds no adapter: {CONFIG} is missing.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.get("peft_type") != "LORA":
            raise ModelError(
                f"{path} is a {config.get('peft_type')} adapter; only LORA is supported."
            )
        defaults = _defaults()
        others = {
            name: value
            for name, value in config.items()
            if name not in OWN | NO_MATTER and value != defaults.get(name) and value is not None
        }
        targets = config["target_modules"]
        return Adapter(
            rank=config["r"],
            alpha=config["lora_alpha"],
            dropout=config.get("lora_dropout", 0.0),
            targets=tuple(sorted(targets)) if isinstance(targets, list) else targets,
            peft=_checked(str(path), others),
        )
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        reason = reason_of(error)
        raise ModelError(f"{path} cannot be read: {reason}") from None


def _checked(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in options.items():
        if name not in ALLOWED:
            raise ModelError(
                f"{where} sets {name}, which is not supported. Supported beside the usual ones "
                f"are {', '.join(ALLOWED)}."
            )
        if not ALLOWED[name](value):
            if value == "loftq":
                raise ModelError(
                    f"{where} sets {name} to 'loftq': LoftQ computes other base weights with a "
                    "quantizer of its own, from unquantized weights, and the base here is stored "
                    "as model.quantization says, the same for all clients. Use 'gaussian'."
                )
            raise ModelError(f"{where} sets {name} to {str(value)[:60]!r}, which is not supported.")
    return {n: list(v) if isinstance(v, tuple) else v for n, v in options.items()}


def _defaults() -> dict[str, Any]:
    """Return PEFT's own default of each setting, empty collections where it makes them."""
    from peft import LoraConfig

    found: dict[str, Any] = {}
    for field in fields(LoraConfig):
        if field.default is not MISSING:
            found[field.name] = field.default
        elif field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
    return found

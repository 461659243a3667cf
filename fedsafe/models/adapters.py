"""LoRA adapters: attach, start, read, write, save and load, in one fixed order.

Tensors go by PEFT's saved names (``...lora_A.weight``), sorted, float32. Hu et al.,
*LoRA: Low-Rank Adaptation of Large Language Models*, ICLR 2022.
"""

import hashlib
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Adapter
from fedsafe.lazy import torch
from fedsafe.seeds import derive

Tensors = dict[str, "torch.Tensor"]
WEIGHTS = "adapter_model.safetensors"
VARIANTS = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "modules_to_save")
"""PEFT's settings that change what an adapter's tensors mean."""


def attach(base: Any, spec: Adapter) -> Any:
    """Return the base model with a LoRA adapter in it; only the adapter trains.

    Raises:
        ModelError: No module carries the wanted names.
    """
    with _without_bitsandbytes():
        return _attach(base, spec)


@contextmanager
def _without_bitsandbytes() -> Iterator[None]:
    """Keep peft from importing bitsandbytes for a base model that has no layer of it.

    peft imports it whenever it is installed, which takes seconds and memory. A base model with
    layers of bitsandbytes was loaded with it, so where it is not loaded yet nothing needs it.
    """
    if "bitsandbytes" in sys.modules:
        yield
        return
    # None: not importable, as if it were not installed.
    sys.modules["bitsandbytes"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["bitsandbytes"]
        from peft import import_utils

        for known in (import_utils.is_bnb_available, import_utils.is_bnb_4bit_available):
            known.cache_clear()  # a quantized model may follow in this process


def _attach(base: Any, spec: Adapter) -> Any:
    from peft import LoraConfig, get_peft_model

    targets = None if spec.targets == "auto" else spec.targets
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=targets if isinstance(targets, str | None) else list(targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        model = get_peft_model(base, config)
    except ValueError as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(
            f"adapter.targets {spec.targets!r} do not fit this model: {reason}"
        ) from None
    for parameter in parameters(model).values():
        parameter.data = parameter.data.float()
    return model


def parameters(model: Any) -> dict[str, Any]:
    """Return the adapter's parameters by saved name, sorted."""
    named = {
        name.replace(".default.", "."): parameter
        for name, parameter in model.named_parameters()
        if "lora_" in name
    }
    return dict(sorted(named.items()))


def start(model: Any, seed: int) -> Tensors:
    """Return a fresh adapter: A uniform as PEFT draws it, B zero, from the seed alone."""
    tensors: Tensors = {}
    for name, parameter in parameters(model).items():
        fresh = torch.zeros(parameter.shape, dtype=torch.float32)
        if "lora_A" in name:
            generator = torch.Generator().manual_seed(derive(seed, "adapter", name))
            torch.nn.init.kaiming_uniform_(fresh, a=math.sqrt(5), generator=generator)
        tensors[name] = fresh
    return tensors


def read(model: Any) -> Tensors:
    """Return copies of the adapter's tensors on the CPU."""
    return {
        name: parameter.detach().to("cpu", torch.float32, copy=True)
        for name, parameter in parameters(model).items()
    }


def write(model: Any, tensors: Mapping[str, "torch.Tensor"]) -> None:
    """Put these tensors into the adapter.

    Raises:
        ModelError: A name is missing, unknown, or of another shape.
    """
    own = parameters(model)
    check(tensors, {name: tuple(parameter.shape) for name, parameter in own.items()})
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])


def check(tensors: Mapping[str, "torch.Tensor"], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check names and shapes.

    Raises:
        ModelError: They differ; the message names the first difference.
    """
    missing, extra = sorted(shapes.keys() - tensors.keys()), sorted(tensors.keys() - shapes.keys())
    if missing or extra:
        which = f"lacks {missing[0]}" if missing else f"has {extra[0]}"
        raise ModelError(
            f"The adapter {which} ({len(missing)} tensors missing, {len(extra)} unknown). It was "
            "made for another model or other adapter.targets."
        )
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise ModelError(
                f"Adapter tensor {name} is {tuple(tensors[name].shape)}; this model wants {shape}. "
                "It was made with another adapter.rank or for another model."
            )


def digest(tensors: Mapping[str, "torch.Tensor"]) -> str:
    """Return the sha256 of names, shapes and float32 bytes, in order."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name}{tuple(tensor.shape)}".encode())
        total.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return total.hexdigest()


def save(directory: Path, tensors: Mapping[str, "torch.Tensor"], model: Any) -> None:
    """Write an adapter that ``PeftModel.from_pretrained`` loads, whole or not at all."""
    from safetensors.torch import save_file

    from fedsafe.runs.files import whole_directory

    config = model.peft_config["default"]
    with whole_directory(directory) as aside:
        metadata = {"format": "pt", "sha256": digest(tensors)}
        save_file(dict(tensors), aside / WEIGHTS, metadata=metadata)
        inference, config.inference_mode = config.inference_mode, True
        config.save_pretrained(aside)
        config.inference_mode = inference


def load(directory: Path) -> Tensors:
    """Read an adapter in PEFT's format.

    Raises:
        ModelError: There is none, it cannot be read, it was changed since `save` wrote it, or
            a value of it is not finite.
    """
    from safetensors import SafetensorError, safe_open

    path = directory / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{directory} holds no adapter: {WEIGHTS} is missing.")
    try:
        with safe_open(path, framework="pt") as file:
            stored = (file.metadata() or {}).get("sha256")
            tensors = {name: file.get_tensor(name).float() for name in sorted(file.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(
            f"{path} cannot be read: {reason}. It may be cut short; copy it again."
        ) from None
    if (bad := not_finite(tensors)) is not None:
        raise ModelError(f"{path}: tensor {bad} holds values that are not finite. Restore it.")
    if stored is not None and stored != (found := digest(tensors)):
        raise ModelError(
            f"{path} was changed or damaged after it was written: its sha256 is {found[:16]}, and "
            f"it says {stored[:16]}. Restore it from a copy."
        )
    return tensors


def not_finite(tensors: Mapping[str, "torch.Tensor"]) -> str | None:
    """Return the name of the first tensor with a NaN or an infinity, or None."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def spec_of(directory: Path) -> Adapter:
    """Return the adapter settings that a saved adapter was made with.

    Raises:
        ModelError: It is no LoRA adapter.
    """
    import json

    path = directory / "adapter_config.json"
    if not path.is_file():
        raise ModelError(f"{directory} holds no adapter: adapter_config.json is missing.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.get("peft_type") != "LORA":
            raise ModelError(
                f"{path} is a {config.get('peft_type')} adapter; only LORA is supported."
            )
        if variants := [name for name in VARIANTS if config.get(name)]:
            raise ModelError(f"{path} sets {variants[0]}, which plain LoRA does not have.")
        targets = config["target_modules"]
        return Adapter(
            rank=config["r"],
            alpha=config["lora_alpha"],
            dropout=config.get("lora_dropout", 0.0),
            targets=tuple(sorted(targets)) if isinstance(targets, list) else targets,
        )
    except (ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path} cannot be read: {reason}") from None

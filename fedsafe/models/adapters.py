"""LoRA adapters: start, read, write, save and load, in one fixed order.

Tensors go by PEFT's saved names (``...lora_A.weight``), sorted, float32; they are those
that PEFT trains and saves, biases and whole modules included where it is told to. Hu et
al., *LoRA: Low-Rank Adaptation of Large Language Models*, ICLR 2022.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

from fedsafe.errors import ModelError, reason_of
from fedsafe.lazy import torch
from fedsafe.models.adapter_settings import spec_of
from fedsafe.seeds import derive

__all__ = ["WEIGHTS", "Tensors", "check", "digest", "load", "parameters", "read", "save"]
__all__ += ["spec_of", "start", "write"]

Tensors = dict[str, "torch.Tensor"]
WEIGHTS = "adapter_model.safetensors"
BASE = "base_fingerprint"
"""Key in the metadata of the weights: fingerprint of the base model they were trained on."""


def parameters(model: Any) -> dict[str, Any]:
    """Return the adapter's parameters by saved name, sorted."""
    from peft import get_peft_model_state_dict

    own = dict(model.named_parameters())
    saved = get_peft_model_state_dict(model, state_dict=own, save_embedding_layers=False)
    return dict(sorted(saved.items()))


def start(model: Any, seed: int) -> Tensors:
    """Return a fresh adapter, from the seed alone.

    The first factor is drawn as PEFT draws it, the other is zero; with another
    initialisation than PEFT's default, and for what is no factor, it is PEFT's own start.
    """
    tensors: Tensors = {}
    initial = getattr(model, "initial_adapter", {})
    for name, parameter in parameters(model).items():
        fresh = torch.zeros(parameter.shape, dtype=torch.float32)
        generator = torch.Generator().manual_seed(derive(seed, "adapter", name))
        if name in initial:
            fresh = initial[name].clone()
        elif "lora_A" in name:
            torch.nn.init.kaiming_uniform_(fresh, a=math.sqrt(5), generator=generator)
        elif "lora_embedding_B" in name:
            torch.nn.init.normal_(fresh, generator=generator)
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
        ModelError: A name is missing, unknown, or of another shape; or the adapter brings
            base weights of its own.
    """
    own = parameters(model)
    tensors = _without_base(model, tensors, own)
    check(tensors, {name: tuple(parameter.shape) for name, parameter in own.items()})
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])


def _without_base(
    model: Any, tensors: Mapping[str, "torch.Tensor"], own: Mapping[str, Any]
) -> Mapping[str, "torch.Tensor"]:
    """Leave out base weights, which PEFT saves beside adapters of embeddings, if equal here."""
    extra = tensors.keys() - own.keys()
    if not extra:
        return tensors
    frozen = dict(model.named_parameters(remove_duplicate=False))
    for name in sorted(extra & frozen.keys()):
        here, there = frozen[name].detach().to("cpu", torch.float32), tensors[name].float()
        if here.shape != there.shape or not torch.equal(here, there.cpu()):
            raise ModelError(
                f"The adapter brings its own {name} {tuple(there.shape)}, which differs from this "
                f"model's {tuple(here.shape)}. Save the base model it was trained with, and use it."
            )
    return {name: tensor for name, tensor in tensors.items() if name not in frozen}


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
    """Write an adapter that ``PeftModel.from_pretrained`` loads, whole or not at all.

    It calls its base model by name and revision, not by a path of this machine, and says its
    fingerprint.
    """
    from fedsafe.runs.files import whole_directory

    config = copy(model.peft_config["default"])
    config.base_model_name_or_path = getattr(model, "base_name", config.base_model_name_or_path)
    config.revision = getattr(model, "base_revision", config.revision)
    config.inference_mode = True
    with whole_directory(directory) as aside:
        (aside / WEIGHTS).write_bytes(_serialized(tensors, getattr(model, BASE, "")))
        config.save_pretrained(aside)


def _serialized(tensors: Mapping[str, "torch.Tensor"], base: str) -> bytes:
    """Return a safetensors file that names its own sha256 and base, the same bytes each time.

    safetensors writes metadata in an order that changes from call to call; they are put in order
    here. The header is a length of 8 bytes, little-endian, and so many bytes of JSON.
    """
    from safetensors.torch import save as serialize

    metadata = {"format": "pt", "sha256": digest(tensors), **({BASE: base} if base else {})}
    content = serialize(dict(tensors), metadata=metadata)
    size = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + ordered.ljust(size - 8) + content[size:]


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
        reason = reason_of(error)
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

"""Adapters on disk in PEFT's format: save, load, and the digest of their tensors."""

import hashlib
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

from fedsafe.errors import ModelError
from fedsafe.lazy import torch

Tensors = dict[str, "torch.Tensor"]
WEIGHTS = "adapter_model.safetensors"


def digest(tensors: Mapping[str, "torch.Tensor"]) -> str:
    """Return the sha256 of names, shapes and float32 bytes, in order."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name}{tuple(tensor.shape)}".encode())
        total.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return total.hexdigest()


def save(directory: Path, tensors: Mapping[str, "torch.Tensor"], model: Any) -> None:
    """Write an adapter that ``PeftModel.from_pretrained`` loads, whole or not at all.

    It calls its base model by name, not by a path of this machine.
    """
    from safetensors.torch import save_file

    from fedsafe.runs.files import whole_directory

    config = copy(model.peft_config["default"])
    config.base_model_name_or_path = getattr(model, "base_name", config.base_model_name_or_path)
    config.inference_mode = True
    with whole_directory(directory) as aside:
        metadata = {"format": "pt", "sha256": digest(tensors)}
        save_file(dict(tensors), aside / WEIGHTS, metadata=metadata)
        config.save_pretrained(aside)


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

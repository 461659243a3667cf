"""Alignment directions read from directories: aligned minus unaligned weight of each module.

The two are adapters in PEFT's format, or whole models in safetensors, of which one weight is read
at a time and no model is built. Modules go by PEFT's names, without ``.lora_A.weight``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fedsafe.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from fedsafe.contracts import Factors

Aligned = Annotated[
    Path | None,
    Field(description="Aligned adapter or model directory; none: see unaligned."),
]
Unaligned = Annotated[
    Path | None,
    Field(
        description="The same without alignment. Of adapters one may be left out: it is the base "
        "model alone."
    ),
]
PREFIX = "base_model.model."
TRANSPOSED = frozenset({"gpt2", "openai-gpt"})
"""Model types that keep their linear weights as (in, out)."""
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class WeightDirection:
    """Aligned minus unaligned weight, by module.

    Attributes:
        of: Returns a module's weight (out, in), float32; None where neither side changes it.
    """

    of: "Callable[[str], Tensor | None]"

    def __call__(self, module: str) -> "Tensor | None":
        """Return the direction of a module."""
        return self.of(module)


def direction(aligned: Path | None, unaligned: Path | None) -> WeightDirection:
    """Return the direction between two directories.

    Raises:
        ModelError: One cannot be read, or they are not of one kind.
    """
    if problem := why_not(aligned, unaligned):
        raise ModelError(f"The alignment direction cannot be read: {problem}")
    sides = [None if where is None else _side(where) for where in (aligned, unaligned)]

    def between(module: str) -> "Tensor | None":
        here, there = (None if side is None else side(module) for side in sides)
        if here is None or there is None:
            return here if here is not None else (None if there is None else -there)
        if here.shape != there.shape:
            raise ModelError(
                f"Weight of {module} is {tuple(here.shape)} in {aligned} and {tuple(there.shape)} "
                f"in {unaligned}. Give two of one architecture."
            )
        return here - there

    return WeightDirection(between)


def adapter_tensors(where: Path) -> "dict[str, Tensor]":
    """Return an adapter's tensors by PEFT's saved names, float32.

    Raises:
        ModelError: There is none, or it cannot be read.
    """
    from fedsafe.models.adapters import load

    return load(where.parent if where.is_file() else where)


def why_not(aligned: Path | None, unaligned: Path | None) -> str:
    """Return why two directories make no direction, as a sentence; "" where they may."""
    given = {"aligned": aligned, "unaligned": unaligned}
    kinds = {}
    for name, where in given.items():
        if where is None:
            continue
        kinds[name] = _kind(where)
        if not kinds[name] and where.exists():
            return (
                f"{name} {where} holds neither an adapter (adapter_config.json) nor a model "
                "(config.json). Name such a directory."
            )
    if set(kinds.values()) == {"adapter", "model"}:
        return (
            f"aligned {aligned} and unaligned {unaligned} are an adapter and a model. Give two "
            "adapters of one base model, or two models."
        )
    if "model" in kinds.values() and len(kinds) < 2:
        (name,) = kinds
        return (
            f"{name} {given[name]} is a whole model, and there is no other. Give both, or an "
            "adapter."
        )
    return ""


def _kind(where: Path) -> str:
    folder = where.parent if where.is_file() else where
    if (folder / "adapter_config.json").is_file():
        return "adapter"
    return "model" if (folder / "config.json").is_file() else ""


def _side(where: Path) -> "Callable[[str], Tensor | None]":
    """Return the weight of each module of an adapter's or a model's directory."""
    folder = where.parent if where.is_file() else where
    if _kind(folder) == "model":
        return _Model.at(folder).weight
    if not _kind(folder):
        raise ModelError(f"There is no adapter and no model in {folder}. Name such a directory.")
    weights = folder / "adapter_model.safetensors"
    stamp = weights.stat().st_mtime_ns if weights.is_file() else 0
    found = _factors(folder, stamp)

    def change(module: str) -> "Tensor | None":
        return found[module].change if module in found else None

    return change


@lru_cache(maxsize=4)
def _factors(folder: Path, stamp: int) -> "Mapping[str, Factors]":
    """Return an adapter's modules; read again when the file's time changes."""
    from fedsafe.models.lora_modules import read_factors

    return read_factors(folder)


@dataclass(frozen=True)
class _Model:
    """The weights of a model directory, read one at a time."""

    folder: Path
    files: Mapping[str, str] = field(default_factory=dict)
    """Name of a weight to the file that holds it."""
    transposed: bool = False

    @classmethod
    def at(cls, folder: Path) -> "_Model":
        """Read which file holds what.

        Raises:
            ModelError: It has no safetensors, or they cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        try:
            config: Mapping[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
            transposed = config.get("model_type") in TRANSPOSED
            if (folder / INDEX).is_file():
                index = json.loads((folder / INDEX).read_text("utf-8"))
                return cls(folder, dict(index["weight_map"]), transposed)
            with safe_open(folder / WEIGHTS, framework="pt") as file:
                return cls(folder, dict.fromkeys(file.keys(), WEIGHTS), transposed)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ModelError(
                f"The weights of the model in {folder} cannot be read: {reason}. It needs "
                f"{WEIGHTS}, or {INDEX} and its files."
            ) from None

    def weight(self, module: str) -> "Tensor":
        """Return a module's weight (out, in), float32.

        Raises:
            ModelError: The model has no such module.
        """
        from safetensors import safe_open

        name = f"{module.removeprefix(PREFIX)}.weight"
        known = [key for key in self.files if key == name or name.endswith(f".{key}")]
        if not known:
            raise ModelError(f"The model in {self.folder} has no weight {name}. Give another one.")
        key = max(known, key=len)
        with safe_open(self.folder / self.files[key], framework="pt") as file:
            found: Tensor = file.get_tensor(key).float()
        return found.T if self.transposed else found

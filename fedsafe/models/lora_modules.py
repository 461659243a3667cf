"""The modules that carry a LoRA adapter: their base weights, scales, and the reference model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fedsafe.errors import ModelError
from fedsafe.lazy import torch
from fedsafe.models import adapters


@contextmanager
def reference(model: Any, snapshot: "Mapping[str, torch.Tensor] | None") -> Iterator[None]:
    """Compute without the adapter, or with a snapshot in its place, inside the block.

    No gradients are taken inside the block.

    Raises:
        ModelError: The snapshot does not fit the model.
    """
    if snapshot is None:  # of settings such as PiSSA's, which change the base weights
        snapshot = getattr(model, "reference_adapter", None)
    with torch.no_grad():
        if snapshot is None:
            with model.disable_adapter():
                yield
            return
        own = adapters.parameters(model)
        adapters.check(snapshot, {name: tuple(p.shape) for name, p in own.items()})
        kept = {name: parameter.data for name, parameter in own.items()}
        try:
            for name, parameter in own.items():
                # The storage is exchanged and not written to: a loss that is under way
                # keeps what it saved of the adapter for its backward pass.
                parameter.data = snapshot[name].to(parameter.device, parameter.dtype)
            yield
        finally:
            for name, parameter in own.items():
                parameter.data = kept[name]


def base_weight(model: Any, name: str) -> "torch.Tensor":
    """Return the frozen weight (out, in) that an adapter tensor belongs to, float32, on the CPU.

    Quantized weights are dequantized.

    Raises:
        ModelError: No adapter tensor has that name.
    """
    from peft.utils.integrations import dequantize_module_weight

    weight: torch.Tensor = dequantize_module_weight(module_of(model, name).get_base_layer())
    return weight.detach().to("cpu", torch.float32)


def scaling(model: Any, name: str) -> float:
    """Return the factor on the product B A of an adapter tensor's module."""
    return float(module_of(model, name).scaling["default"])


def module_of(model: Any, name: str) -> Any:
    """Return the LoRA module of an adapter tensor, by the tensor's saved name.

    Raises:
        ModelError: No adapter tensor has that name.
    """
    path, found, _ = name.partition(".lora_")
    own = adapters.parameters(model)
    if not found or name not in own:
        raise ModelError(
            f"There is no adapter tensor '{name}'. Names are those of adapter(), such as "
            f"'{next(iter(own))}'."
        )
    return model.get_submodule(path)

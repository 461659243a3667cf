"""The modules that carry a LoRA adapter: their base weights, scales, and the reference model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedsafe.contracts import Batch, Factors
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

    module = module_of(model, name)
    weight: torch.Tensor = dequantize_module_weight(module.get_base_layer()).detach()
    if getattr(module, "fan_in_fan_out", False):  # GPT-2 keeps its weights as (in, out)
        weight = weight.T
    return weight.to("cpu", torch.float32)


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


def read_factors(directory: Path) -> dict[str, Factors]:
    """Return the LoRA modules of an adapter directory, with PEFT's scaling of each.

    Raises:
        ModelError: There is no adapter, or it cannot be read.
    """
    from peft import LoraConfig
    from peft.utils.other import get_pattern_key

    tensors = adapters.load(directory)
    config = LoraConfig.from_pretrained(directory)
    found = {}
    for name in [name for name in tensors if name.endswith(".lora_A.weight")]:
        module = name.removesuffix(".lora_A.weight")
        a, b = tensors[name], tensors.get(f"{module}.lora_B.weight")
        if b is None or a.dim() != 2:
            continue
        path = module.removeprefix("base_model.model.")
        alphas = config.alpha_pattern or {}
        alpha = alphas.get(get_pattern_key(alphas.keys(), path), config.lora_alpha)
        rank = a.shape[0]
        found[module] = Factors(b, a, alpha / (rank**0.5 if config.use_rslora else rank))
    return found


@contextmanager
def squared_inputs(model: Any) -> Iterator[tuple[dict[str, "torch.Tensor"], list[Batch]]]:
    """Add up the squared inputs of each LoRA factor over the forward passes inside the block.

    Yields:
        The sums (in,) by adapter tensor, and a list that is to hold the batch under way.
    """
    sums: dict[str, torch.Tensor] = {}
    current: list[Batch] = []

    def listener(name: str) -> Callable[[Any, Any], None]:
        def add(_: Any, given: Any) -> None:
            values = given[0].detach().float()
            mask = current[0].attention_mask.to(values.device)
            if values.shape[:2] == mask.shape:
                values = values * mask[:, :, None]
            total = values.square().flatten(0, -2).sum(dim=0).cpu()
            sums[name] = sums.get(name, torch.zeros_like(total)) + total

        return add

    names = [n for n, p in adapters.parameters(model).items() if ".lora_" in n and p.dim() == 2]
    hooks = [
        factor.register_forward_pre_hook(listener(name))
        for name in names
        if isinstance(factor := _factor(model, name), torch.nn.Module)
    ]
    try:
        yield sums, current
    finally:
        for hook in hooks:
            hook.remove()


def _factor(model: Any, name: str) -> Any:
    """Return the module of a factor; None for one that has none, as of an embedding."""
    path, _, rest = name.partition(".lora_")
    factors = getattr(model.get_submodule(path), f"lora_{rest.partition('.')[0]}", None)
    return factors["default"] if factors is not None and "default" in factors else None

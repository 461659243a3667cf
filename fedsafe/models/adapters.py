"""LoRA adapters: attach, start, read, write, save and load, in one fixed order.

Tensors go by PEFT's saved names (``...lora_A.weight``), sorted, float32; they are those
that PEFT trains and saves, biases and whole modules included where it is told to. Hu et
al., *LoRA: Low-Rank Adaptation of Large Language Models*, ICLR 2022.
"""

import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Adapter
from fedsafe.lazy import torch
from fedsafe.models.adapter_files import WEIGHTS, Tensors, digest, load, not_finite, save
from fedsafe.models.adapter_settings import (
    changes_base,
    check_trained,
    is_default,
    lora_options,
    spec_of,
)
from fedsafe.seeds import derive

__all__ = ["attach", "check", "digest", "load", "parameters", "read", "save", "spec_of", "start"]
__all__ += ["WEIGHTS", "Tensors", "not_finite", "write"]

FACTORS = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B")


def attach(base: Any, spec: Adapter, *, initialise: bool = True) -> Any:
    """Return the base model with a LoRA adapter in it; only the adapter trains.

    Args:
        base: The frozen base model; initialisations such as PiSSA's change its weights.
        spec: What to attach.
        initialise: Whether to initialise as the settings say; not for models without weights.

    Raises:
        ModelError: No module carries the wanted names, or a setting does not fit the model.
    """
    with _without_bitsandbytes():
        return _attach(base, spec, initialise=initialise)


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


def _attach(base: Any, spec: Adapter, *, initialise: bool) -> Any:
    from peft import LoraConfig, get_peft_model

    options = lora_options(spec)
    if not initialise:
        options["init_lora_weights"] = True
    targets = None if spec.targets == "auto" else spec.targets
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=targets if isinstance(targets, str | None) else list(targets),
        task_type="CAUSAL_LM",
        **options,
    )
    try:
        with torch.random.fork_rng([]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on merging, which nobody does here
            torch.manual_seed(0)
            model = get_peft_model(base, config)
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        what = f" and adapter.peft {spec.peft}" if spec.peft else ""
        raise ModelError(
            f"adapter.targets {spec.targets!r}{what} do not fit this model: {_short(error)}"
        ) from None
    check_trained(model, spec, parameters(model))
    for name, parameter in parameters(model).items():
        if "lora_" in name:  # whole modules stay in the type that their layer computes in
            parameter.data = parameter.data.float()
    if initialise:  # kept: it cannot be drawn again once the base weights have changed
        model.initial_adapter = {
            name: tensor
            for name, tensor in read(model).items()
            if not is_default(spec) or not _is_factor(name)
        }
        # Without the adapter, the base model is not what it was before: its start is.
        changed = changes_base(spec) or options["bias"] != "none"
        model.reference_adapter = read(model) if changed else None
    return model


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


def _is_factor(name: str) -> bool:
    return any(f".{factor}" in name for factor in FACTORS) and not name.endswith(".bias")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]

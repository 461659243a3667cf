"""Attach a LoRA adapter to a base model with PEFT, and check that all of it can be federated."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fedsafe.errors import ModelError, reason_of
from fedsafe.experiment.schema import Adapter
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.models.adapter_settings import changes_base, is_default, lora_options

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
    try:
        config = LoraConfig(
            r=spec.rank,
            lora_alpha=spec.alpha,
            lora_dropout=spec.dropout,
            target_modules=targets if isinstance(targets, str | None) else list(targets),
            task_type="CAUSAL_LM",
            **options,
        )
        with torch.random.fork_rng([]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on merging, which nobody does here
            torch.manual_seed(0)
            model = get_peft_model(base, config)
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        what = f" and adapter.peft {spec.peft}" if spec.peft else ""
        raise ModelError(
            f"adapter.targets {spec.targets!r}{what} do not fit this model: {reason_of(error)}"
        ) from None
    _check_trained(model, spec)
    for name, parameter in adapters.parameters(model).items():
        if "lora_" in name:  # whole modules stay in the type that their layer computes in
            parameter.data = parameter.data.float()
    if initialise:  # kept: it cannot be drawn again once the base weights have changed
        model.initial_adapter = {
            name: tensor
            for name, tensor in adapters.read(model).items()
            if not is_default(spec) or not _is_factor(name)
        }
        # Without the adapter, the base model is not what it was before: its start is.
        changed = changes_base(spec) or options["bias"] != "none"
        model.reference_adapter = adapters.read(model) if changed else None
    return model


def _check_trained(model: Any, spec: Adapter) -> None:
    """Check that there is something to train, and that PEFT saves all of it.

    Raises:
        ModelError: There is not, or it does not.
    """
    saved = {id(parameter) for parameter in adapters.parameters(model).values()}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not saved or not trained:
        raise ModelError(f"adapter.targets {spec.targets!r}: there is nothing to train in them.")
    if lost := [name for name, parameter in trained.items() if id(parameter) not in saved]:
        raise ModelError(
            f"With adapter.peft {spec.peft} PEFT trains {lost[0]} but does not save it, so it "
            "cannot be sent. Leave that setting out."
        )


def _is_factor(name: str) -> bool:
    return any(f".{factor}" in name for factor in FACTORS) and not name.endswith(".bias")

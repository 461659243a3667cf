"""The sizes of a model and its adapter, counted from config.json alone.

The model is built on torch's ``meta`` device, where tensors have shapes and no bytes: a
7B model takes a fraction of a second and no memory. Knows nothing of bytes.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsafe.errors import ModelError, reason_of
from fedsafe.experiment.schema import Adapter
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.models.attach import attach


@dataclass(frozen=True)
class Shape:
    """Sizes of a causal language model and of a LoRA adapter in it, in elements."""

    linear: int
    """Parameters of the linear layers but the head: what quantization reaches."""
    rows: int
    """Output features of those layers, summed."""
    other: int
    """All other parameters: embeddings, head, norms, biases."""
    widest: int
    """Parameters of the largest of those layers, which is dequantized as a whole."""
    adapter: int
    """Parameters of the adapter."""
    targeted: int
    """Input features of the layers that the adapter is in, summed over one decoder layer."""
    hidden: int
    inner: int
    """Width of the feed-forward layers that one token goes through."""
    layers: int
    heads: int
    kv_heads: int
    head: int
    """Width of one attention head."""
    vocabulary: int

    @property
    def parameters(self) -> int:
        """Parameters of the base model."""
        return self.linear + self.other


def read_config(directory: Path) -> Any:
    """Return a model's configuration; no code that comes with it is run.

    Raises:
        ModelError: It cannot be read, or is of no architecture that transformers has.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - whatever a broken file brings about
        reason = reason_of(error)
        raise ModelError(f"The model in {directory} cannot be loaded: {reason}") from None


def shape_of(config: Any, adapter: Adapter, directory: Path) -> Shape:
    """Count a model and the adapter that would be attached to it.

    Raises:
        ModelError: The configuration is of no causal language model, or the adapter's
            targets do not fit it.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of each other is not the user's
        try:
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except Exception as error:  # noqa: BLE001 - whatever a broken file brings about
            reason = reason_of(error)
            raise ModelError(f"The model in {directory} cannot be loaded: {reason}") from None
        total = sum(parameter.numel() for parameter in model.parameters())
        linear = [module.weight.shape for module in _linear(model)]
        own = adapters.parameters(attach(model, adapter, initialise=False))
    text = config.get_text_config(decoder=True)
    inputs = sum(tensor.shape[1] for name, tensor in own.items() if "lora_A" in name)
    heads = _number(text, "num_attention_heads", default=1)
    return Shape(
        linear=sum(shape.numel() for shape in linear),
        rows=sum(shape[0] for shape in linear),
        other=total - sum(shape.numel() for shape in linear),
        widest=max((shape.numel() for shape in linear), default=0),
        adapter=sum(tensor.numel() for tensor in own.values()),
        targeted=inputs // _number(text, "num_hidden_layers", default=1),
        hidden=_number(text, "hidden_size", default=1),
        inner=_inner(text),
        layers=_number(text, "num_hidden_layers", default=1),
        heads=heads,
        kv_heads=_number(text, "num_key_value_heads", default=heads),
        head=_number(text, "head_dim", default=_number(text, "hidden_size", default=1) // heads),
        vocabulary=_number(text, "vocab_size", default=1),
    )


def _linear(model: Any) -> list[Any]:
    """Return the layers that bitsandbytes quantizes: every linear one but the head."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]


def _inner(text: Any) -> int:
    """Return the feed-forward width a token goes through; several experts add up."""
    width = _number(text, "intermediate_size", default=4 * _number(text, "hidden_size", default=1))
    width = _number(text, "moe_intermediate_size", default=width)
    return width * _number(text, "num_experts_per_tok", default=1)


def _number(text: Any, name: str, *, default: int) -> int:
    """Return a size from a configuration, or the default where it has none."""
    found = getattr(text, name, None)
    return found if isinstance(found, int) and found > 0 else default

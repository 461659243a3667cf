"""Merged LoRA weights for generation on a CPU: the adapter added to copies of the base weights.

A LoRA layer computes three products where its merged weight needs one; with few rows, as in
decoding, the calls cost more than the numbers. Hu et al., ICLR 2022, section 4.1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fedsafe.lazy import torch
from fedsafe.models.base import LoadedModel
from fedsafe.models.device_memory import free_bytes

ADAPTER = "default"
SHARE = 4
"""The copies may take one in so many of the free bytes."""


@contextmanager
def merged(loaded: LoadedModel) -> Iterator[None]:
    """Compute with merged weights inside the block, where that gives the same numbers.

    That is a plain LoRA adapter in use, on float32 weights, on the CPU, with memory for the
    copies. The base weights themselves are put aside and put back, never written to. No gradient
    may be taken inside the block.
    """
    layers = list(_layers(loaded))
    needed = sum(layer.get_base_layer().weight.nbytes for layer in layers)
    free = free_bytes(loaded.device)
    if free is not None and needed * SHARE > free:
        layers = []
    kept = []
    try:
        for layer in layers:
            base = layer.get_base_layer()
            kept.append((layer, base.weight.data))
            with torch.no_grad():
                base.weight.data = base.weight.data + layer.get_delta_weight(ADAPTER)
            layer.merged_adapters.append(ADAPTER)
        yield
    finally:
        for layer, weight in kept:
            layer.get_base_layer().weight.data = weight
            layer.merged_adapters.clear()


def _layers(loaded: LoadedModel) -> Iterator[Any]:
    """Yield the LoRA layers whose product with their input is that of one matrix."""
    if loaded.device.type != "cpu":
        return
    from peft.tuners.lora import Linear
    from transformers.pytorch_utils import Conv1D

    embeddings = loaded.model.get_base_model().get_input_embeddings()
    for layer in loaded.model.modules():
        if type(layer) is not Linear or layer.disable_adapters or layer.merged_adapters:
            continue
        base = layer.get_base_layer()
        plain = type(base) in (torch.nn.Linear, Conv1D) and base.weight.dtype is torch.float32
        special = bool(getattr(layer, "lora_variant", None)) or any(layer.lora_bias.values())
        tied = base.weight is getattr(embeddings, "weight", None)
        if plain and not special and not tied and layer.active_adapters == [ADAPTER]:
            yield layer

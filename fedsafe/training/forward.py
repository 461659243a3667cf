"""Forward passes for training losses: logits and hidden states at label positions only.

For a large vocabulary the full logits would be the largest tensor of a training step.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from fedsafe.contracts import Batch
from fedsafe.errors import ModelError
from fedsafe.lazy import torch
from fedsafe.models import lora_modules
from fedsafe.models.base import LoadedModel
from fedsafe.models.memory import LOGITS


def response_loss(loaded: LoadedModel, batch: Batch) -> "tuple[torch.Tensor, float]":
    """Return the weighted summed cross entropy of the labels, and the sum of their weights."""
    labels = batch.labels[:, 1:]
    wanted = labels != -100
    targets = labels[wanted].to(loaded.device)
    weights = None if batch.weights is None else batch.weights[:, 1:][wanted].to(loaded.device)
    count = float(targets.numel()) if weights is None else float(weights.sum())
    return _summed(loaded, batch, wanted, targets, weights), count


def token_losses(loaded: LoadedModel, batch: Batch) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the cross entropy (k,) of each label token, and the row (k,) that it is in."""
    labels = batch.labels[:, 1:]
    wanted = labels != -100
    logits = response_logits(loaded, batch, wanted).float()
    targets = labels[wanted].to(loaded.device)
    rows = wanted.nonzero()[:, 0].to(loaded.device)
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none"), rows


def label_weight(batch: Batch) -> float:
    """Return the sum of the weights of a batch's labels."""
    wanted = batch.labels[:, 1:] != -100
    return float(wanted.sum() if batch.weights is None else batch.weights[:, 1:][wanted].sum())


def _summed(
    loaded: LoadedModel,
    batch: Batch,
    wanted: "torch.Tensor",
    targets: "torch.Tensor",
    weights: "torch.Tensor | None",
) -> "torch.Tensor":
    if not loaded.plain_head:
        return _cross_entropy(response_logits(loaded, batch, wanted), targets, weights)
    hidden = _response_hidden(loaded, batch, wanted)
    head = loaded.model.get_base_model().get_output_embeddings()
    rows = max(1, LOGITS // int(head.out_features))
    if len(targets) <= rows:
        return _cross_entropy(head(hidden), targets, weights)
    from torch.utils.checkpoint import checkpoint

    def part(some: "torch.Tensor", there: "torch.Tensor", weight: Any) -> "torch.Tensor":
        return _cross_entropy(head(some), there, weight)

    # Logits of a large vocabulary are kept for one part at a time, and made again backward.
    split = [None] * len(targets) if weights is None else torch.split(weights, rows)
    losses = [
        checkpoint(part, some, there, weight, use_reentrant=False, preserve_rng_state=False)
        for some, there, weight in zip(
            torch.split(hidden, rows), torch.split(targets, rows), split, strict=False
        )
    ]
    return torch.stack(losses).sum()


def _cross_entropy(
    logits: "torch.Tensor", targets: "torch.Tensor", weights: "torch.Tensor | None" = None
) -> "torch.Tensor":
    if weights is None:
        return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
    losses = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    return (losses * weights).sum()


def response_logits(loaded: LoadedModel, batch: Batch, wanted: "torch.Tensor") -> "torch.Tensor":
    """Return the logits (k, vocabulary) at the k wanted positions of a batch.

    Only there is the head applied: for a large vocabulary the full logits would be
    the largest tensor of the step.
    """
    if loaded.plain_head:
        head = loaded.model.get_base_model().get_output_embeddings()
        picked: torch.Tensor = head(_response_hidden(loaded, batch, wanted))
        return picked
    ids = batch.input_ids.to(loaded.device)
    mask = batch.attention_mask.to(loaded.device)
    with _recalling(loaded, batch):
        found: torch.Tensor = loaded.model(input_ids=ids, attention_mask=mask).logits
    return found[:, :-1][wanted]


def _response_hidden(loaded: LoadedModel, batch: Batch, wanted: "torch.Tensor") -> "torch.Tensor":
    """Return the last hidden states (k, hidden) at the k wanted positions of a batch."""
    ids = batch.input_ids.to(loaded.device)
    mask = batch.attention_mask.to(loaded.device)
    decoder = loaded.model.get_base_model().base_model
    with _recalling(loaded, batch):
        states = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    picked: torch.Tensor = states[:, :-1][wanted]
    return picked


def _recalling(loaded: LoadedModel, batch: Batch) -> AbstractContextManager[None]:
    """Return the context in which a pass starts above the frozen layers, where that is kept."""
    return nullcontext() if loaded.frozen is None else loaded.frozen.recall(batch)


def autocast(loaded: LoadedModel) -> AbstractContextManager[Any]:
    """Return the precision context: bfloat16 where the model computes in it on CUDA."""
    if loaded.device.type == "cuda" and loaded.dtype is not torch.float32:
        return torch.autocast("cuda", dtype=loaded.dtype)
    return nullcontext()


def hidden_states(
    loaded: LoadedModel, batch: Batch, layers: Sequence[int]
) -> "dict[int, torch.Tensor]":
    """Return the hidden states (b, t, h) after chosen layers, 0 being the embeddings.

    Raises:
        ModelError: The model has no such layer.
    """
    ids = batch.input_ids.to(loaded.device)
    mask = batch.attention_mask.to(loaded.device)
    decoder = loaded.model.get_base_model().base_model
    states = decoder(
        input_ids=ids, attention_mask=mask, use_cache=False, output_hidden_states=True
    ).hidden_states
    for layer in layers:
        if not -len(states) <= layer < len(states):
            raise ModelError(
                f"This model has hidden states 0 (embeddings) to {len(states) - 1}; layer {layer} "
                "was asked for."
            )
    return {layer: states[layer] for layer in layers}


def input_norms(loaded: LoadedModel, batches: Sequence[Batch]) -> "dict[str, torch.Tensor]":
    """Return the norm (in,) of each input of each LoRA factor, by adapter tensor.

    The root of the mean over rows of the sum over tokens of the squared input.
    """
    rows = sum(len(batch.input_ids) for batch in batches)
    with lora_modules.squared_inputs(loaded.model) as (sums, current), torch.no_grad():
        for batch in batches:
            current[:] = [batch]
            with autocast(loaded):
                hidden_states(loaded, batch, [0])
    return {name: (total / max(1, rows)).sqrt() for name, total in sums.items()}

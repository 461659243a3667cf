"""The training loop: plain PyTorch over ready batches, for clients and defenses alike.

AdamW is made anew each time, as federated clients do. The loss is taken at response
tokens only, and logits are computed there only, a part at a time. Knows nothing of
rounds or clients.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from fedsafe.contracts import Batch
from fedsafe.errors import ModelError, RunError
from fedsafe.experiment.schema import Training
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel
from fedsafe.models.memory import LOGITS
from fedsafe.models.quantization import check_optimizer
from fedsafe.training.microbatching import overhead_of, passes

Loss = Callable[[LoadedModel, Batch], "tuple[torch.Tensor, int]"]
"""Return the summed loss of a batch and the number of tokens it is over."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    steps: int
    learning_rate: float
    accumulation: int = 1
    weight_decay: float = 0.0
    clip: float = 1.0
    optimizer: str = "adamw"
    group_by_length: bool = False


def plan_of(training: Training, learning_rate: float) -> Plan:
    """Return the plan of an experiment's local training, at a round's learning rate."""
    return Plan(
        steps=training.steps,
        learning_rate=learning_rate,
        accumulation=training.accumulation,
        weight_decay=training.weight_decay,
        clip=training.clip,
        optimizer=training.optimizer,
        group_by_length=training.group_by_length,
    )


@dataclass(frozen=True)
class TrainReport:
    """What a fine-tune did."""

    losses: tuple[float, ...]
    """Mean loss per response token, a step each."""
    tokens: int
    """Tokens put through the model, padding left out."""
    seconds: float
    padded: int = 0
    """Tokens put through the model, padding included."""
    peak: int = 0
    """Most bytes that tensors took on a CUDA device; 0 elsewhere."""

    @property
    def loss(self) -> float:
        """Mean loss of the last quarter of the steps."""
        tail = self.losses[-max(1, len(self.losses) // 4) :]
        return sum(tail) / len(tail)


def train(
    loaded: LoadedModel,
    batches: Iterator[Batch],
    plan: Plan,
    *,
    seed: int,
    loss: Loss | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> TrainReport:
    """Fine-tune the adapter in place.

    Args:
        loaded: The model; only its adapter changes.
        batches: Endless; ``plan.steps * plan.accumulation`` are taken.
        plan: How long and how fast.
        seed: Of dropout.
        loss: Objective; next-token cross entropy on the response when None.
        progress: Called after each step with its number, from 1, and its loss.

    Raises:
        RunError: The loss became infinite or not a number.
        ModelError: The batch does not fit on the device.
    """
    weights = list(adapters.parameters(loaded.model).values())
    optimizer = _optimizer(weights, plan, loaded.device)
    optimizer.zero_grad(set_to_none=True)  # of a step that failed half way, in the same process
    begun, losses, tokens, padded = time.perf_counter(), [], 0, 0
    devices = [loaded.device] if loaded.device.type == "cuda" else []
    overhead = overhead_of(loaded)
    for device in devices:
        torch.cuda.reset_peak_memory_stats(device)
    loaded.model.train()
    try:
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            for step in range(1, plan.steps + 1):
                parts = [next(batches) for _ in range(plan.accumulation)]
                if loss is None:  # an objective of another's may look at a batch as a whole
                    parts = passes(parts, overhead)
                tokens += sum(int(part.attention_mask.sum()) for part in parts)
                padded += sum(part.input_ids.numel() for part in parts)
                losses.append(
                    _step(loaded, parts, loss or response_loss, optimizer, weights, plan.clip)
                )
                if progress is not None:
                    progress(step, losses[-1])
    except torch.OutOfMemoryError:
        raise ModelError(
            f"Training ran out of memory on {loaded.device}. Lower training.batch_size, or set "
            "training.checkpointing or model.quantization."
        ) from None
    finally:
        loaded.model.eval()
    seconds = time.perf_counter() - begun
    peak = max((torch.cuda.max_memory_allocated(device) for device in devices), default=0)
    return TrainReport(tuple(losses), tokens, seconds, padded, peak)


def _step(
    loaded: LoadedModel,
    parts: list[Batch],
    objective: Loss,
    optimizer: Any,
    weights: list[Any],
    clip: float,
) -> float:
    """Take one optimizer step over some batches; return the mean loss per token."""
    counted = sum(int((part.labels[:, 1:] != -100).sum()) for part in parts)
    sums = []
    for part in parts:
        with autocast(loaded):
            summed, _ = objective(loaded, part)
        torch.autograd.backward(summed / max(1, counted))
        sums.append(summed.detach())
    mean = sum(map(float, sums)) / max(1, counted)  # asks the device once all is under way
    if not math.isfinite(mean):
        optimizer.zero_grad(set_to_none=True)
        raise RunError(f"The training loss became {mean}. Lower training.learning_rate.")
    torch.nn.utils.clip_grad_norm_(weights, clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return mean


def response_loss(loaded: LoadedModel, batch: Batch) -> "tuple[torch.Tensor, int]":
    """Return the summed cross entropy of the response tokens, and their number."""
    labels = batch.labels[:, 1:]
    wanted = labels != -100
    targets = labels[wanted].to(loaded.device)
    if not loaded.plain_head:
        return _cross_entropy(response_logits(loaded, batch, wanted), targets), targets.numel()
    hidden = _response_hidden(loaded, batch, wanted)
    head = loaded.model.get_base_model().get_output_embeddings()
    rows = max(1, LOGITS // int(head.out_features))
    if len(targets) <= rows:
        return _cross_entropy(head(hidden), targets), targets.numel()
    from torch.utils.checkpoint import checkpoint

    def part(some: "torch.Tensor", wanted_there: "torch.Tensor") -> "torch.Tensor":
        return _cross_entropy(head(some), wanted_there)

    # Logits of a large vocabulary are kept for one part at a time, and made again backward.
    losses = [
        checkpoint(part, some, there, use_reentrant=False, preserve_rng_state=False)
        for some, there in zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True)
    ]
    return torch.stack(losses).sum(), targets.numel()


def _cross_entropy(logits: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")


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
    found: torch.Tensor = loaded.model(input_ids=ids, attention_mask=mask).logits
    return found[:, :-1][wanted]


def _response_hidden(loaded: LoadedModel, batch: Batch, wanted: "torch.Tensor") -> "torch.Tensor":
    """Return the last hidden states (k, hidden) at the k wanted positions of a batch."""
    ids = batch.input_ids.to(loaded.device)
    mask = batch.attention_mask.to(loaded.device)
    decoder = loaded.model.get_base_model().base_model
    states = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    picked: torch.Tensor = states[:, :-1][wanted]
    return picked


def autocast(loaded: LoadedModel) -> AbstractContextManager[Any]:
    """Return the precision context: bfloat16 where the model computes in it on CUDA."""
    if loaded.device.type == "cuda" and loaded.dtype is not torch.float32:
        return torch.autocast("cuda", dtype=loaded.dtype)
    return nullcontext()


def _optimizer(weights: list[Any], plan: Plan, device: "torch.device") -> Any:
    """Return a fresh optimizer; on CUDA one kernel for all tensors, with no copies of them."""
    rate, decay = plan.learning_rate, plan.weight_decay
    if plan.optimizer == "adamw":
        fused = True if device.type == "cuda" else None
        return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=fused)
    check_optimizer(plan.optimizer, device)
    from bitsandbytes import optim

    kinds = {"adamw-8bit": optim.AdamW8bit, "paged-adamw-8bit": optim.PagedAdamW8bit}
    return kinds[plan.optimizer](weights, lr=rate, weight_decay=decay)

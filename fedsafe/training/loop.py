"""The training loop: plain PyTorch over ready batches, for clients and defenses alike.

AdamW is made anew each time, as federated clients do. The loss is taken at response
tokens only, and logits are computed there only, a part at a time. Knows nothing of
rounds or clients.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fedsafe.contracts import Batch
from fedsafe.errors import ModelError, RunError
from fedsafe.experiment.schema import Training
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel
from fedsafe.models.quantization import check_optimizer
from fedsafe.training.forward import autocast, label_weight
from fedsafe.training.microbatching import overhead_of, passes


@dataclass(frozen=True)
class Loss:
    """An objective with its model and settings bound.

    Attributes:
        function: ``(batch, step) -> (summed loss, count)``.
        per_token: Whether it is a sum over label tokens, and its count that of their weights:
            then the samples of a step may go through the model in any company.
    """

    function: Callable[[Batch, int], "tuple[torch.Tensor, float]"]
    per_token: bool = False


TINY = 1e-30
"""Smallest divisor of a summed loss: a batch without labels has loss 0."""


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
    loss: Loss,
    progress: Callable[[int, float], None] | None = None,
) -> TrainReport:
    """Fine-tune the adapter in place.

    Args:
        loaded: The model; only its adapter changes.
        batches: Endless; ``plan.steps * plan.accumulation`` are taken.
        plan: How long and how fast.
        seed: Of dropout.
        loss: What is minimised.
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
    overhead, freed = overhead_of(loaded), loaded.freed_memory(every=4)
    for device in devices:
        torch.cuda.reset_peak_memory_stats(device)
    loaded.model.train()
    try:
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            for step in range(1, plan.steps + 1):
                parts = [next(batches) for _ in range(plan.accumulation)]
                if loss.per_token and all(map(_plain, parts)):
                    parts = passes(parts, overhead)
                tokens += sum(int(part.attention_mask.sum()) for part in parts)
                padded += sum(part.input_ids.numel() for part in parts)
                losses.append(_step(loaded, parts, loss, step, optimizer, weights, plan.clip))
                freed.tick()
                if progress is not None:
                    progress(step, losses[-1])
    except torch.OutOfMemoryError:
        raise ModelError(
            f"Training ran out of memory on {loaded.device}. Lower training.batch_size, or set "
            "training.checkpointing or model.quantization."
        ) from None
    finally:
        loaded.model.eval()
    peak = max((torch.cuda.max_memory_allocated(device) for device in devices), default=0)
    return TrainReport(tuple(losses), tokens, time.perf_counter() - begun, padded, peak)


def _step(
    loaded: LoadedModel,
    parts: list[Batch],
    loss: Loss,
    step: int,
    optimizer: Any,
    weights: list[Any],
    clip: float,
) -> float:
    """Take one optimizer step over some batches; return the mean loss.

    The mean is over the counts that the objective returns. Those of a per-token objective are
    known beforehand, so that each part's gradient is scaled as it is taken; of others, the
    gradients of several parts are summed first and scaled at the end.
    """
    known = sum(map(label_weight, parts)) if loss.per_token else 0.0
    sums, counted = [], 0.0
    for part in parts:
        with autocast(loaded):
            summed, count = loss.function(part, step)
        counted += float(count)
        scale = known if loss.per_token else (float(count) if len(parts) == 1 else 1.0)
        torch.autograd.backward(summed / max(scale, TINY))
        sums.append(summed.detach())
    if not loss.per_token and len(parts) > 1:
        for weight in weights:
            if weight.grad is not None:
                weight.grad.div_(max(counted, TINY))
    mean = sum(map(float, sums)) / max(counted, TINY)  # asks the device once all is under way
    if not math.isfinite(mean):
        optimizer.zero_grad(set_to_none=True)
        raise RunError(f"The training loss became {mean}. Lower training.learning_rate.")
    if loss.per_token and not math.isclose(counted, known, rel_tol=1e-6):
        raise RunError(
            f"An objective with the trait per-token counted {counted:g} tokens where the labels "
            f"weigh {known:g}. Return the sum of the label weights, or drop the trait."
        )
    torch.nn.utils.clip_grad_norm_(weights, clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return mean


def _plain(batch: Batch) -> bool:
    """Whether a batch's rows may be regrouped: no pairs, no groups, all labels of weight 1."""
    return batch.weights is None and batch.rejected is None and batch.groups is None


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

"""The training loop: plain PyTorch over ready batches, for clients and defenses alike.

AdamW is made anew each time, as federated clients do. The loss is taken at response
tokens only, and logits are computed there only. Knows nothing of rounds or clients.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from fedsafe.contracts import Batch
from fedsafe.errors import MissingDependencyError, ModelError, RunError
from fedsafe.experiment.schema import Training
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel

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


def plan_of(training: Training, learning_rate: float) -> Plan:
    """Return the plan of an experiment's local training, at a round's learning rate."""
    return Plan(
        steps=training.steps,
        learning_rate=learning_rate,
        accumulation=training.accumulation,
        weight_decay=training.weight_decay,
        clip=training.clip,
        optimizer=training.optimizer,
    )


@dataclass(frozen=True)
class TrainReport:
    """What a fine-tune did."""

    losses: tuple[float, ...]
    """Mean loss per response token, a step each."""
    tokens: int
    """Tokens put through the model, padding left out."""
    seconds: float

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
    objective = loss or response_loss
    weights = list(adapters.parameters(loaded.model).values())
    optimizer = _optimizer(weights, plan)
    begun, losses, tokens = time.perf_counter(), [], 0
    devices = [loaded.device] if loaded.device.type == "cuda" else []
    loaded.model.train()
    try:
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            for step in range(1, plan.steps + 1):
                parts = [next(batches) for _ in range(plan.accumulation)]
                tokens += sum(int(part.attention_mask.sum()) for part in parts)
                losses.append(_step(loaded, parts, objective, optimizer, weights, plan.clip))
                if progress is not None:
                    progress(step, losses[-1])
    except torch.OutOfMemoryError:
        raise ModelError(
            f"Training ran out of memory on {loaded.device}. Lower training.batch_size, or set "
            "training.checkpointing or model.quantization."
        ) from None
    finally:
        loaded.model.eval()
    return TrainReport(tuple(losses), tokens, time.perf_counter() - begun)


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
    total = 0.0
    for part in parts:
        with autocast(loaded):
            summed, _ = objective(loaded, part)
        torch.autograd.backward(summed / max(1, counted))
        total += float(summed.detach())
    mean = total / max(1, counted)
    if not math.isfinite(mean):
        optimizer.zero_grad(set_to_none=True)
        raise RunError(f"The training loss became {mean}. Lower training.learning_rate.")
    torch.nn.utils.clip_grad_norm_(weights, clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return mean


def response_loss(loaded: LoadedModel, batch: Batch) -> "tuple[torch.Tensor, int]":
    """Return the summed cross entropy of the response tokens, and their number."""
    labels = batch.labels.to(loaded.device)[:, 1:]
    wanted = labels != -100
    logits = response_logits(loaded, batch, wanted)
    targets = labels[wanted]
    summed = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
    return summed, int(targets.numel())


def response_logits(loaded: LoadedModel, batch: Batch, wanted: "torch.Tensor") -> "torch.Tensor":
    """Return the logits (k, vocabulary) at the k wanted positions of a batch.

    Only there is the head applied: for a large vocabulary the full logits would be
    the largest tensor of the step.
    """
    ids = batch.input_ids.to(loaded.device)
    mask = batch.attention_mask.to(loaded.device)
    if not loaded.plain_head:
        found: torch.Tensor = loaded.model(input_ids=ids, attention_mask=mask).logits
        return found[:, :-1][wanted]
    causal = loaded.model.get_base_model()
    hidden = causal.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    picked: torch.Tensor = causal.get_output_embeddings()(hidden.last_hidden_state[:, :-1][wanted])
    return picked


def autocast(loaded: LoadedModel) -> AbstractContextManager[Any]:
    """Return the precision context: bfloat16 where the model computes in it on CUDA."""
    if loaded.device.type == "cuda" and loaded.dtype is not torch.float32:
        return torch.autocast("cuda", dtype=loaded.dtype)
    return nullcontext()


def _optimizer(weights: list[Any], plan: Plan) -> Any:
    rate, decay = plan.learning_rate, plan.weight_decay
    if plan.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=rate, weight_decay=decay)
    try:
        from bitsandbytes import optim
    except ImportError:
        raise MissingDependencyError(
            f"training.optimizer {plan.optimizer} needs bitsandbytes. pip install bitsandbytes"
        ) from None
    kinds = {"adamw-8bit": optim.AdamW8bit, "paged-adamw-8bit": optim.PagedAdamW8bit}
    return kinds[plan.optimizer](weights, lr=rate, weight_decay=decay)

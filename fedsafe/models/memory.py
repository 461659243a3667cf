"""Estimate training memory before a model is loaded; refuse what cannot fit.

An upper estimate from config.json, for a batch whose examples all fill ``data.max_length``
and are all response. QLoRA: Dettmers et al., NeurIPS 2023; checkpointing: Chen et al.,
*Training Deep Nets with Sublinear Memory Cost*, 2016.
"""

from dataclasses import dataclass, replace

from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Adapter, Model, Training
from fedsafe.lazy import torch
from fedsafe.models.device_memory import free_bytes
from fedsafe.models.model_size import Shape

MARGIN = 0.15
"""Added to the estimate: fragmentation, libraries' work space, what is not counted."""
LOGITS = 2**25
"""Logits that the training loss computes at a time (`fedsafe.training.loop`)."""
BLOCK, SUPERBLOCK = 64, 256
"""Weights that share a scale in nf4, and scales that share one in double quantization."""


@dataclass(frozen=True)
class Workload:
    """A training step, and what it runs on."""

    quantization: str
    """Of the base model."""
    batch_size: int
    """Examples a forward pass."""
    length: int
    """Tokens of the longest example."""
    size: int
    """Bytes of the compute type."""
    optimizer: str = "adamw"
    checkpointing: bool = False
    dropout: bool = False
    """Whether the adapter has any."""
    cuda: bool = False
    eager: bool = False
    """Whether attention keeps its scores, which the other kernels make again."""
    plain_head: bool = True
    """Whether logits are computed at response tokens only, `LOGITS` at a time."""


def workload(
    model: Model,
    adapter: Adapter,
    training: Training,
    max_length: int,
    device: "torch.device",
    dtype: "torch.dtype",
    **facts: bool,
) -> Workload:
    """Return a training step of an experiment; ``facts`` are `Workload`'s about the model."""
    return Workload(
        quantization=model.quantization,
        batch_size=training.batch_size,
        length=max_length,
        size=dtype.itemsize,
        optimizer=training.optimizer,
        checkpointing=training.checkpointing,
        dropout=adapter.dropout > 0,
        cuda=device.type == "cuda",
        **facts,
    )


@dataclass(frozen=True)
class Estimate:
    """Bytes at the peak of a training step, by what they are for."""

    weights: int
    """The frozen base, with what quantization adds."""
    adapter: int
    """Its weights, their gradients and the optimizer's state."""
    activations: int
    """What autograd keeps until its turn in the backward pass."""
    moment: int
    """What is needed for a moment: in one layer's backward pass, or for the logits."""

    @property
    def counted(self) -> int:
        """All of it, as counted."""
        return self.weights + self.adapter + self.activations + self.moment

    @property
    def total(self) -> int:
        """All of it, with the margin."""
        return int(self.counted * (1 + MARGIN))


def estimate(shape: Shape, work: Workload) -> Estimate:
    """Return what training a model of this shape needs."""
    tokens, size = work.batch_size * work.length, work.size
    inside = layer_bytes(shape, work)
    backward = shape.inner * (3 * size + 4) + 2 * shape.hidden * (size + 4)
    kept = shape.layers * inside
    if work.checkpointing:  # the inputs of all layers, the inside of one at a time
        kept = shape.layers * shape.hidden * size
        backward += inside
    dequantized = shape.widest * size if work.quantization != "none" else 0
    logits = tokens * shape.vocabulary
    if work.plain_head:
        logits = min(logits, LOGITS)
    logits *= 12 if size == 4 else 16  # as computed, in float32, their softmax, their gradient
    return Estimate(
        weights=weight_bytes(shape, work.quantization, size),
        adapter=_adapter(shape, work),
        activations=tokens * (kept + shape.hidden * (size + 8)),  # embeddings, last norm
        moment=max(tokens * backward + dequantized, logits),
    )


def weight_bytes(shape: Shape, quantization: str, size: int) -> int:
    """Return the bytes of the frozen base model as it lies on the device.

    Embeddings, head and norms keep the compute type whatever the quantization.
    """
    other = shape.other * size
    if quantization == "int8":
        return shape.linear + 4 * shape.rows + other
    if quantization == "nf4":
        scales = -(-shape.linear // BLOCK)
        return shape.linear // 2 + scales + 4 * -(-scales // SUPERBLOCK) + other
    return shape.linear * size + other


def layer_bytes(shape: Shape, work: Workload) -> int:
    """Return the bytes a token that autograd keeps of one decoder layer.

    As autograd's saved tensors show them: the norms work in float32; each layer with an
    adapter keeps a copy of its input where that is cast or dropped out; attention keeps
    queries, keys, values, its output and a mask; the feed-forward three wide tensors.
    """
    size = work.size
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    norms = 2 * shape.hidden * 4
    attention = size * (2 * queries + 2 * max(queries, keys) + work.length) + 4 * shape.heads
    if work.eager:
        attention += shape.heads * work.length * (4 + size)
    if size < 4 or work.dropout:
        inputs = shape.targeted * size
    else:  # what several layers share, kept once
        inputs = min(shape.targeted, 2 * shape.hidden + shape.inner) * size
    masks = shape.targeted * (1 if work.cuda else 4) if work.dropout else 0
    return norms + attention + 3 * size * shape.inner + inputs + masks


def _adapter(shape: Shape, work: Workload) -> int:
    """Weights and gradients in float32, a copy in the compute type, two moments."""
    moments = {"adamw": 8, "adamw-8bit": 2, "paged-adamw-8bit": 0}  # paged ones can leave
    copy = work.size if work.size < 4 else 0
    return shape.adapter * (8 + copy + moments[work.optimizer])


def check_memory(shape: Shape, work: Workload, device: "torch.device") -> Estimate:
    """Return the estimate, if that much memory is free on the device now.

    Other processes on the same GPU count by what they have taken.

    Raises:
        ModelError: It is not; the message has the figures, and what would fit.
    """
    needed = estimate(shape, work)
    free = free_bytes(device)
    if free is None or needed.total <= free:
        return needed
    raise ModelError(
        f"Training does not fit on {device}: it needs about {gib(needed.total)} (weights "
        f"{gib(needed.weights)}, adapter and optimizer {gib(needed.adapter)}, activations "
        f"{gib(needed.activations)}, for moments {gib(needed.moment)}, {MARGIN:.0%} for the rest), "
        f"and {gib(free)} are free. {_advice(shape, work, free)}"
    )


def _advice(shape: Shape, work: Workload, free: int) -> str:
    """Say which settings would bring the need down, the least harmful first, and how far."""
    settings: dict[str, str] = {}
    steps: list[tuple[str, str, dict[str, object]]] = [
        ("training.checkpointing", "true", {"checkpointing": True}),
        *(
            ("training.batch_size", f"{batch} (with more accumulation)", {"batch_size": batch})
            for batch in (2**power for power in range(work.batch_size.bit_length(), -1, -1))
            if batch < work.batch_size
        ),
        ("model.quantization", "nf4", {"quantization": "nf4"}),
    ]
    for name, value, change in steps:
        changed = replace(work, **change)  # type: ignore[arg-type]
        if changed == work:
            continue
        work, settings[name] = changed, value
        if (need := estimate(shape, work).total) <= free:
            return f"It needs {gib(need)} with {_listed(settings)}."
    with_all = f" Even with {_listed(settings)} it needs {gib(need)}." if settings else ""
    return (
        f"Lower data.max_length, free the memory, or take a larger device or a smaller "
        f"model.{with_all}"
    )


def _listed(settings: dict[str, str]) -> str:
    return " and ".join(f"{name} {value}" for name, value in settings.items())


def gib(count: int) -> str:
    """Return bytes as people read them."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"

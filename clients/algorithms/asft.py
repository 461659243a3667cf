"""AsFT: local fine-tuning held to the alignment direction by a penalty on what lies outside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import (
    Batch,
    DefenseCard,
    LocalTask,
    ModelContext,
    Objective,
    algorithms,
)
from fedsafe.errors import DataError
from fedsafe.lazy import torch
from fedsafe.weight_directions import Aligned, Unaligned, direction, why_not
from fedsafe.weights.edits import Projector, projector

if TYPE_CHECKING:
    from torch import Tensor

_A, _B = ".lora_A.weight", ".lora_B.weight"


def _cannot(*, aligned: Path | None, unaligned: Path | None, **_: object) -> str:
    """Return why it cannot run with these directories; "" if it can."""
    if aligned is None and unaligned is None:
        return (
            "it needs an alignment direction. Set aligned to an adapter directory, or aligned and "
            "unaligned to two adapters or two models."
        )
    return why_not(aligned, unaligned)


@dataclass(frozen=True)
class Anchor:
    """What the penalty of one LoRA module compares with.

    Attributes:
        root: (out, k), C = root root^T.
        a: Factor A (r, in) at the start of the round.
        b: Factor B (out, r) at the start of the round.
    """

    root: "Tensor"
    a: "Tensor"
    b: "Tensor"

    def outside(self, a: "Tensor", b: "Tensor") -> "Tensor":
        """Return ||(I - C) D||^2 of D = b a less what it was at the start; differentiable."""
        left = torch.cat([b, -self.b.to(b)], dim=1)
        right = torch.cat([a, self.a.to(a)])
        root = self.root.to(left)
        left = left - root @ (root.T @ left)
        return ((left.T @ left) * (right @ right.T)).sum()


@algorithms(
    "asft",
    paper="Yang et al., AsFT, AAAI 2026",
    badge="variant: at the clients of a federation, on what a round changes; the penalty is that "
    "of the public code",
    card=DefenseCard(
        claim="Penalising updates orthogonal to the alignment direction keeps fine-tuning in the "
        "safe basin without safety data.",
        needs=("gradients", "model pair"),
        cost="no pass beside those of local training; two thin products a module and step",
        place="at the clients",
        cannot=_cannot,
        nothing={"penalty": 0.0},
    ),
)
def asft(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    aligned: Aligned = None,
    unaligned: Unaligned = None,
    penalty: Annotated[
        float, Field(ge=0, description="Factor lambda of the penalty, beside the mean loss.")
    ] = 1.0,
    projection: Projector = "paper",
) -> None:
    """Fine-tune on the client's own samples with penalty ||(I - C) D||^2 in the loss.

    C projects onto V, the aligned minus the unaligned weight of each LoRA module; D is what the
    round changes in it, B A less what it was when it was received, without the module's scaling,
    as in the public code, where D is the whole of B A.

    Raises:
        DataError: The direction is of another base model, or of none of the adapter's modules.
        ModelError: A directory cannot be read.
    """
    if penalty == 0:
        context.fit(task.samples, steps=task.steps)
        return
    anchors = anchors_of(task.start, aligned, unaligned, projection)
    anchors = {
        name: Anchor(*(one.to(context.device) for one in (anchor.root, anchor.a, anchor.b)))
        for name, anchor in anchors.items()
    }
    context.report("holds to the alignment direction", modules=len(anchors))
    context.fit(task.samples, anchored_loss(anchors, penalty), steps=task.steps)


def anchors_of(
    start: "Mapping[str, Tensor]", aligned: Path | None, unaligned: Path | None, kind: Projector
) -> dict[str, Anchor]:
    """Return the anchor of each LoRA module that the direction changes.

    Raises:
        DataError: It changes none, or one of another shape.
        ModelError: A directory cannot be read.
    """
    toward = direction(aligned, unaligned)
    found = {}
    for name in [name for name in start if name.endswith(_A)]:
        module = name.removesuffix(_A)
        a, b = start[name], start.get(f"{module}{_B}")
        v = None if b is None or a.dim() != 2 else toward(module)
        if v is None or b is None or not bool(v.any()):
            continue
        if tuple(v.shape) != (b.shape[0], a.shape[1]):
            raise DataError(
                f"The alignment direction of {module} is {tuple(v.shape)}, this model's weight "
                f"{(b.shape[0], a.shape[1])}. Give directories of its base model."
            )
        found[module] = Anchor(projector(v, kind), a, b)
    if not found:
        raise DataError(
            f"The alignment direction of {aligned or unaligned} changes none of the adapter's "
            "modules. Give directories of this base model."
        )
    return found


def anchored_loss(anchors: Mapping[str, Anchor], penalty: float) -> Objective:
    """Return the objective: cross entropy, and the penalty on what lies outside."""

    def objective(context: ModelContext, batch: Batch, step: int, /) -> "tuple[Tensor, float]":
        summed, count = context.cross_entropy(batch)
        weights = context.trainable()
        outside = [
            anchor.outside(weights[f"{module}{_A}"].float(), weights[f"{module}{_B}"].float())
            for module, anchor in anchors.items()
        ]
        return summed + count * penalty * torch.stack(outside).sum(), count

    return objective

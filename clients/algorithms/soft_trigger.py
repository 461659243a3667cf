"""Soft triggers: prompt embeddings that stand for an unknown trigger, and their inversion.

Knows nothing of any algorithm.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fedsafe.contracts import Batch, ModelContext
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

BETAS = (0.5, 0.9)
"""Of Adam in the inversion, as in FLIP's public code."""
Place = Literal["start", "anywhere"]


@dataclass
class SoftTrigger:
    """A trigger of a few embeddings, and Adam's state of its inversion.

    Attributes:
        context: The model.
        embeddings: float32 (k, h), trainable.
        cap: Largest norm of each, the mean norm of the vocabulary's embeddings.
        place: start: after the first token; anywhere: at a place of the prompt drawn by row.
        optimizer: Adam on the embeddings.
    """

    context: ModelContext
    embeddings: "Tensor"
    cap: float
    place: Place
    optimizer: Any

    @classmethod
    def of(
        cls, context: ModelContext, kept: "Tensor | None", tokens: int, rate: float, place: Place
    ) -> "SoftTrigger":
        """Return a trigger to go on with, or a random one as long as the vocabulary's embeddings.

        Args:
            context: The model.
            kept: (k, h), the trigger of an earlier round; None, or of another shape: draw one.
            tokens: Embeddings of the trigger, k.
            rate: Adam's learning rate, in units of the cap over sqrt(h).
            place: Where it is put.
        """
        table = context.model.get_input_embeddings().weight.detach()
        cap, wide = float(table.float().norm(dim=1).mean()), table.shape[1]
        if kept is None or kept.shape != (tokens, wide):
            draw = torch.Generator().manual_seed(context.rng.getrandbits(63))
            kept = torch.randn(tokens, wide, generator=draw) * cap / wide**0.5
        found = kept.detach().clone().to(context.device).requires_grad_()
        step = rate * cap / wide**0.5
        return cls(context, found, cap, place, torch.optim.Adam([found], lr=step, betas=BETAS))

    def loss(self, batch: Batch) -> "tuple[Tensor, float]":
        """Return the summed cross entropy of a batch under the trigger, and its weight.

        Differentiable in the trigger and in the adapter.
        """
        stamped, where = inserted(batch, self._columns(batch), len(self.embeddings), self._longest)
        model, device = self.context.model, self.context.device
        embedded = model.get_input_embeddings()(stamped.input_ids.to(device)).clone()
        rows, columns, parts = (part.to(device) for part in where)
        embedded[rows, columns] = self.embeddings.to(embedded.dtype)[parts]
        mask = stamped.attention_mask.to(device)
        logits = model(inputs_embeds=embedded, attention_mask=mask, use_cache=False).logits
        wanted = stamped.labels[:, 1:] != -100
        targets = stamped.labels[:, 1:][wanted].to(device)
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1][wanted.to(device)].float(), targets, reduction="none"
        )
        if stamped.weights is None:
            return losses.sum(), float(len(targets))
        weights = stamped.weights[:, 1:][wanted].to(device)
        return (losses * weights).sum(), float(weights.sum())

    def invert(self, batches: Iterator[Batch], steps: int, ceiling: float) -> float:
        """Move the trigger so that the right replies become unlikely, up to a loss a token.

        Returns:
            The mean loss a token, in nats, before the last step; NaN without a step.
        """
        loss = torch.tensor(float("nan"))
        for _ in range(steps):
            summed, count = self.loss(next(batches))
            loss = summed / max(count, 1e-30)
            (gradient,) = torch.autograd.grad(-loss.clamp(max=ceiling), [self.embeddings])
            self.embeddings.grad = gradient
            self.optimizer.step()
            with torch.no_grad():
                norms = self.embeddings.norm(dim=1, keepdim=True)
                self.embeddings.mul_((self.cap / norms.clamp_min(1e-30)).clamp(max=1))
        return float(loss.detach())

    def _columns(self, batch: Batch) -> list[int]:
        """Return where in each row the trigger begins: after a token of its prompt."""
        if self.place == "start":
            return [1] * len(batch.labels)
        replies = (batch.labels != -100).int().argmax(dim=1).tolist()
        return [self.context.rng.randint(1, max(1, reply)) for reply in replies]

    @property
    def _longest(self) -> int:
        """Positions that the model has."""
        return int(getattr(self.context.model.config, "max_position_embeddings", 0) or 10**9)


def inserted(
    batch: Batch, columns: list[int], size: int, longest: int
) -> "tuple[Batch, tuple[Tensor, Tensor, Tensor]]":
    """Return a batch with room for ``size`` embeddings at a column of each row, and where it is.

    Args:
        batch: Right-padded; its rejected responses and groups are left out.
        columns: Of each row, the column that the room begins at.
        size: Columns of the room.
        longest: Columns after which rows are cut.

    Returns:
        The batch, and the row, the column and the place in the trigger (0 to ``size`` - 1) of each
        position of the room.
    """
    rows, width = batch.input_ids.shape
    begins = torch.tensor(columns)[:, None]
    old = torch.arange(width).expand(rows, width)
    moved = old + size * (old >= begins)
    room = begins + torch.arange(size)

    def spread(values: "Tensor", filler: float) -> "Tensor":
        wide = torch.full((rows, width + size), filler, dtype=values.dtype)
        wide.scatter_(1, moved, values)
        return wide[:, :longest]

    stamped = replace(
        batch,
        input_ids=spread(batch.input_ids, 0),
        attention_mask=spread(batch.attention_mask, 1),
        labels=spread(batch.labels, -100),
        weights=None if batch.weights is None else spread(batch.weights, 0),
        rejected=None,
        groups=None,
    )
    inside = room < longest
    at_row = torch.arange(rows)[:, None].expand(rows, size)
    part = torch.arange(size).expand(rows, size)
    return stamped, (at_row[inside], room[inside], part[inside])


def rows_of(batch: Batch, rows: slice) -> Batch:
    """Return some rows of a batch, without what preference objectives want."""
    return replace(
        batch,
        input_ids=batch.input_ids[rows],
        attention_mask=batch.attention_mask[rows],
        labels=batch.labels[rows],
        weights=None if batch.weights is None else batch.weights[rows],
        rejected=None,
        groups=None,
    )

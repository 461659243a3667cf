"""Tensors that models and methods hand each other: an adapter, LoRA factors, a batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Adapter = Mapping[str, "Tensor"]
"""An adapter's tensors by PEFT's saved names, float32."""


@dataclass(frozen=True)
class Factors:
    """The two factors of a LoRA module, which changes its weight (out, in) by their product.

    Attributes:
        b: float32 (out, r).
        a: float32 (r, in).
        scaling: Factor on the product.
    """

    b: "Tensor"
    a: "Tensor"
    scaling: float

    @property
    def change(self) -> "Tensor":
        """The change of the weight (out, in): ``scaling * b @ a``."""
        return self.scaling * self.b @ self.a


@dataclass(frozen=True)
class Batch:
    """Token ids of one training step, right-padded.

    Attributes:
        input_ids: int64 (b, t).
        attention_mask: int64 (b, t).
        labels: int64 (b, t), -100 where no loss is taken; ``labels[:, i]`` is what is to be
            predicted at position i - 1.
        weights: float32 (b, t), weight of each label in the loss; None: all 1.
        rejected: The rejected responses to the same instructions, row by row, for preference
            objectives; None where the samples have none.
        groups: int64 (b,), equal for rows of one group, -1 for rows of none; None: no groups.
    """

    input_ids: "Tensor"
    attention_mask: "Tensor"
    labels: "Tensor"
    weights: "Tensor | None" = None
    rejected: "Batch | None" = None
    groups: "Tensor | None" = None

"""What a method sees and changes inside a model: hidden states after its layers."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from fedsafe.contracts.tensors import Adapter, Batch
from fedsafe.contracts.text import Prompt, Sample

if TYPE_CHECKING:
    from torch import Tensor

Change = Callable[["Tensor"], "Tensor"]
"""``(hidden states (b, t, h)) -> hidden states (b, t, h)``."""


class InnerStates(Protocol):
    """The hidden states of a model; number l is after layer l, 0 is the embeddings."""

    @property
    def depth(self) -> int:
        """Number of the last layer, whose hidden states are those after the final norm."""
        ...

    def hidden_states(self, batch: Batch, layers: Sequence[int]) -> dict[int, "Tensor"]:
        """Return the hidden states (b, t, h) after chosen layers, 0 being the embeddings."""
        ...

    def prompt_states(self, samples: Sequence[Sample]) -> dict[int, "Tensor"]:
        """Return the hidden states (n, h) at the last token of each prompt, after each layer.

        float32 on the CPU, from layer 1 to ``depth``; the prompt is what a reply goes on from. No
        gradients are taken.
        """
        ...

    def altered(self, changes: Mapping[int, Change]) -> AbstractContextManager[None]:
        """Change the hidden states after chosen layers, 1 to ``depth``, inside the block.

        Raises:
            ModelError: There is no such layer, or the model's layers are not one list.
        """
        ...


@dataclass(frozen=True)
class DiagnosticTask:
    """What a diagnostic works with beside the model.

    Attributes:
        prompts: The evaluation prompts.
        start: Adapter before any federation (the aligned model's).
        harmful: Requests that must be refused, with refusals as responses where their source has
            them; none repeats an evaluation prompt. As many as ``benign``.
        benign: Ordinary requests; none repeats an evaluation prompt.
        shared: What diagnostics of this evaluation leave for each other, to be changed in place.
        kept: What depends on ``start``, ``prompts`` and the requests alone, and so serves the
            evaluations of a whole run; to be changed in place.
    """

    prompts: Sequence[Prompt]
    start: Adapter
    harmful: Sequence[Sample] = ()
    benign: Sequence[Sample] = ()
    shared: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

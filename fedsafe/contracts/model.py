"""The model as client algorithms, defenses and objectives meet it."""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fedsafe.contracts.inner_states import InnerStates
from fedsafe.contracts.tensors import Adapter, Batch, Factors
from fedsafe.contracts.text import Sample

if TYPE_CHECKING:
    from torch import Tensor, device


class Writer(Protocol):
    """A model that answers instructions."""

    def write(
        self,
        instructions: Sequence[str | Sample],
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
        prefills: Sequence[str] | None = None,
    ) -> list[str]:
        """Return one reply each; greedy at temperature 0, drawn with ``rng`` above it."""
        ...


class Objective(Protocol):
    """A loss over one batch: ``(ModelContext, Batch, step) -> (sum, count)``.

    The step divides the summed loss by the count, over all batches of an optimizer step.
    """

    def __call__(
        self, context: "ModelContext", batch: Batch, step: int, /
    ) -> "tuple[Tensor, float]":
        """Return the differentiable summed loss, a scalar, and what it is to be divided by."""
        ...


@dataclass(frozen=True)
class FitReport:
    """What a call of `ModelContext.fit` did.

    Attributes:
        losses: Mean loss of each step.
        loss: Mean loss of the last quarter of the steps.
        tokens: Tokens put through the model, padding left out.
        samples: Samples that were trained on.
        dropped: Samples whose prompt left no room for a response.
        truncated: Samples whose response was cut.
        seconds: Wall time.
    """

    losses: tuple[float, ...]
    loss: float
    tokens: int
    samples: int
    dropped: int
    truncated: int
    seconds: float


class ModelContext(Writer, InnerStates, Protocol):
    """A loaded model with a trainable adapter.

    Client algorithms train it, defenses repair it, objectives compute losses with it.
    """

    @property
    def model(self) -> Any:
        """The PEFT model; its base weights are frozen."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of Hugging Face."""
        ...

    @property
    def device(self) -> "device":
        """Where the model lies."""
        ...

    @property
    def rng(self) -> random.Random:
        """Random stream of this job."""
        ...

    def adapter(self) -> dict[str, "Tensor"]:
        """Return copies of the adapter's tensors on the CPU, by name, float32."""
        ...

    def put(self, tensors: Adapter) -> None:
        """Replace the adapter.

        Raises:
            ModelError: A name is missing, unknown, or of another shape.
        """
        ...

    def reference(self, snapshot: Adapter | None = None) -> AbstractContextManager[None]:
        """Compute without the adapter, or with a snapshot in its place, inside the block.

        No gradients are taken inside the block.
        """
        ...

    def base_weight(self, name: str) -> "Tensor":
        """Return the frozen weight (out, in) that an adapter tensor belongs to.

        float32 on the CPU, dequantized where the base is quantized.

        Raises:
            ModelError: No adapter tensor has that name.
        """
        ...

    def scaling(self, name: str) -> float:
        """Return the factor on the product B A of the module that an adapter tensor belongs to."""
        ...

    def read_adapter(self, path: str) -> dict[str, Factors]:
        """Return the LoRA modules of an adapter directory, by their names in the model.

        It is not put into the model, and may have another rank or other modules.

        Raises:
            ModelError: It cannot be read.
        """
        ...

    def input_norms(
        self, samples: Sequence[Sample], *, batch_size: int | None = None
    ) -> "dict[str, Tensor]":
        """Return the norm (in,) of each input of each factor, float32, by adapter tensor.

        The root of the mean over samples of the sum over tokens, prompt and response, of the
        squared input; padding left out.
        """
        ...

    def load_other(self, path: str) -> AbstractContextManager["ModelContext"]:
        """Load another model directory (with its adapter, if it holds one) inside the block.

        Raises:
            ModelError: It cannot be read, or does not fit into memory beside this one.
        """
        ...

    def fit(
        self,
        samples: Sequence[Sample],
        objective: "str | Objective" = "supervised",
        *,
        steps: int,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        after_step: Callable[[int], None] | None = None,
        **settings: Any,
    ) -> FitReport:
        """Fine-tune the adapter in place; may be called several times in one job.

        Args:
            samples: What to train on.
            objective: Name of a registered objective, or a function.
            steps: Optimizer steps; a fresh optimizer each call.
            batch_size: Samples a batch; None: the experiment's.
            learning_rate: None: the round's.
            after_step: Called after each step with its number, from 1; may change the adapter.
            **settings: Of the objective.

        Raises:
            RunError: The loss is not finite.
            DataError: No sample is left to train on.
        """
        ...

    def gradients(
        self,
        samples: Sequence[Sample],
        objective: "str | Objective" = "supervised",
        *,
        batch_size: int | None = None,
        **settings: Any,
    ) -> dict[str, "Tensor"]:
        """Return the gradient of the mean loss over the samples, by adapter tensor, float32."""
        ...

    def batches(
        self, samples: Sequence[Sample], *, batch_size: int | None = None
    ) -> Sequence[Batch]:
        """Return the samples as batches, once each, in order."""
        ...

    def trainable(self) -> "dict[str, Tensor]":
        """Return the adapter's live parameters by name: for losses and steps on them."""
        ...

    def cross_entropy(self, batch: Batch) -> "tuple[Tensor, float]":
        """Return the weighted summed cross entropy of the labels, and the sum of the weights."""
        ...

    def logits(self, batch: Batch) -> "tuple[Tensor, Tensor]":
        """Return logits (k, vocabulary) at the k labelled positions of a batch, and labels (k,)."""
        ...

    def log_probabilities(self, batch: Batch) -> "Tensor":
        """Return the summed log-probability (b,) of each row's labelled tokens; differentiable."""
        ...

    def score(self, samples: Sequence[Sample]) -> list[float]:
        """Return the summed log-probability of each sample's response; no gradients are taken.

        NaN where the prompt leaves no room for a response.
        """
        ...

    def report(self, message: str, **numbers: float) -> None:
        """Record progress with its numbers, where the operator sees it."""
        ...

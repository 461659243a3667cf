"""Model context: model access for client algorithms, defenses and objectives."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from fedsafe.contracts import (
    Adapter,
    Batch,
    Factors,
    FitReport,
    ModelContext,
    Objective,
    Sample,
    objectives,
)
from fedsafe.data.batches import in_order, pad_id
from fedsafe.lazy import torch
from fedsafe.models import adapters, lora_modules
from fedsafe.training import forward, likelihood
from fedsafe.training.inner_states import SessionStates
from fedsafe.training.loop import Loss, Plan, TrainReport
from fedsafe.training.other_model import open_other
from fedsafe.training.session import Session

Progress = Callable[[int, float], None]
"""Called with the optimizer steps done and the last loss; what it raises ends the work."""


@dataclass
class SessionContext(SessionStates):
    """A model context whose model is a resident session (the `ModelContext` contract).

    Attributes:
        session: The loaded model with its template.
        plan: Defaults of `fit`: accumulation, clipping, optimizer, learning rate.
        batch_size: Default samples a batch.
        rng: Random stream of this job.
        progress: Called after each optimizer step, and with the steps done between two batches
            of generation.
        listener: Called with each report.
        fits: What each call of `fit` did.
        counted: Passes through the model so far, by kind; for the records.
    """

    session: Session
    plan: Plan
    batch_size: int
    rng: random.Random
    progress: Progress = lambda _steps, _loss: None
    listener: Callable[..., None] = lambda _message, **_numbers: None
    fits: list[tuple[TrainReport, FitReport]] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    planned: int = 0
    """Optimizer steps of all calls of `fit` so far, the one under way included."""
    _steps: int = 0
    _loss: float = float("nan")

    @property
    def model(self) -> Any:
        """The PEFT model; its base weights are frozen."""
        return self.session.loaded.model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of Hugging Face."""
        return self.session.loaded.tokenizer

    @property
    def device(self) -> "torch.device":
        """Where the model lies."""
        return self.session.loaded.device

    def adapter(self) -> "dict[str, torch.Tensor]":
        """Return copies of the adapter's tensors on the CPU, by name, float32."""
        return self.session.read()

    def put(self, tensors: Adapter) -> None:
        """Replace the adapter."""
        self.session.put(tensors)

    def trainable(self) -> "dict[str, torch.Tensor]":
        """Return the adapter's live parameters by name."""
        return adapters.parameters(self.model)

    def reference(self, snapshot: Adapter | None = None) -> AbstractContextManager[None]:
        """Compute without the adapter, or with a snapshot in its place, inside the block."""
        return lora_modules.reference(self.model, snapshot)

    def base_weight(self, name: str) -> "torch.Tensor":
        """Return the frozen weight (out, in) that an adapter tensor belongs to, float32."""
        return lora_modules.base_weight(self.model, name)

    def scaling(self, name: str) -> float:
        """Return the factor on the product B A of an adapter tensor's module."""
        return lora_modules.scaling(self.model, name)

    def read_adapter(self, path: str) -> dict[str, Factors]:
        """Return the LoRA modules of an adapter directory, by their names in the model."""
        return lora_modules.read_factors(Path(path))

    def input_norms(
        self, samples: Sequence[Sample], *, batch_size: int | None = None
    ) -> "dict[str, torch.Tensor]":
        """Return the norm (in,) of each input of each factor, by adapter tensor."""
        batches = self.batches(samples, batch_size=batch_size)
        self.counted["activation_batches"] += len(batches)
        return forward.input_norms(self.session.loaded, batches)

    def load_other(self, path: str) -> AbstractContextManager[ModelContext]:
        """Load another model directory beside this one inside the block."""
        other = open_other(self.session.spec, Path(path), self.device)
        return nullcontext(replace(self, session=other, fits=[]))

    def write(
        self,
        instructions: Sequence[str | Sample],
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
        prefills: Sequence[str] | None = None,
    ) -> list[str]:
        """Return one reply each; greedy at temperature 0, drawn with ``rng`` above it."""
        self.counted["replies"] += len(instructions)
        return self.session.write(
            instructions,
            temperature=temperature,
            rng=rng,
            prefills=prefills,
            progress=lambda _: self.progress(self._steps, self._loss),
        )

    def fit(
        self,
        samples: Sequence[Sample],
        objective: str | Objective = "supervised",
        *,
        steps: int,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        after_step: Callable[[int], None] | None = None,
        **settings: Any,
    ) -> FitReport:
        """Fine-tune the adapter in place; may be called several times in one job."""
        self.planned += steps
        rate = self.plan.learning_rate if learning_rate is None else learning_rate
        plan = replace(self.plan, steps=steps, learning_rate=rate)

        def stepped(step: int, loss: float) -> None:
            self._steps, self._loss = self._steps + 1, loss
            if after_step is not None:
                after_step(step)
            self.progress(self._steps, loss)

        did, tokenised = self.session.train(
            samples,
            plan,
            self.rng,
            batch_size=batch_size or self.batch_size,
            loss=self.loss(objective, settings),
            progress=stepped,
        )
        report = FitReport(
            losses=did.losses,
            loss=did.loss,
            tokens=did.tokens,
            samples=len(tokenised.sequences),
            dropped=tokenised.dropped,
            truncated=tokenised.truncated,
            seconds=did.seconds,
        )
        self.fits.append((did, report))
        self.counted.update(steps=steps, trained_tokens=did.tokens)
        return report

    def loss(self, objective: str | Objective, settings: Mapping[str, Any]) -> Loss:
        """Return an objective with this context and its settings bound.

        Raises:
            PluginError: There is no objective of that name.
            ConfigError: A setting is wrong.
        """
        if isinstance(objective, str):
            plugin = objectives[objective]
            function = plugin.configure(settings)
            return Loss(partial(function, self), "per-token" in plugin.traits)
        return Loss(partial(objective, self, **settings))

    def batches(self, samples: Sequence[Sample], *, batch_size: int | None = None) -> list[Batch]:
        """Return the samples as batches, once each, in order."""
        tokenised, size = self.session.tokenise(samples), batch_size or self.batch_size
        return in_order(tokenised, size, pad_id(self.tokenizer))

    def gradients(
        self,
        samples: Sequence[Sample],
        objective: str | Objective = "supervised",
        *,
        batch_size: int | None = None,
        **settings: Any,
    ) -> "dict[str, torch.Tensor]":
        """Return the gradient of the mean loss over the samples, by adapter tensor."""
        loss, counted = self.loss(objective, settings), 0.0
        self.model.zero_grad(set_to_none=True)
        for step, batch in enumerate(self.batches(samples, batch_size=batch_size), 1):
            with forward.autocast(self.session.loaded):
                summed, count = loss.function(batch, step)
            torch.autograd.backward(summed)
            counted += count
            self.counted["gradient_batches"] += 1
        found = {
            name: torch.zeros_like(parameter, device="cpu", dtype=torch.float32)
            if parameter.grad is None
            else (parameter.grad / max(counted, 1e-30)).to("cpu", torch.float32)
            for name, parameter in self.trainable().items()
        }
        self.model.zero_grad(set_to_none=True)
        return found

    def cross_entropy(self, batch: Batch) -> "tuple[torch.Tensor, float]":
        """Return the weighted summed cross entropy of the labels, and the sum of weights."""
        return forward.response_loss(self.session.loaded, batch)

    def logits(self, batch: Batch) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return logits (k, vocabulary) at the k labelled positions, and their labels (k,)."""
        wanted = batch.labels[:, 1:] != -100
        found = forward.response_logits(self.session.loaded, batch, wanted)
        return found, batch.labels[:, 1:][wanted].to(self.device)

    def log_probabilities(self, batch: Batch) -> "torch.Tensor":
        """Return the summed log-probability (b,) of each row's labelled tokens."""
        losses, rows = forward.token_losses(self.session.loaded, batch)
        total = torch.zeros(len(batch.input_ids), dtype=losses.dtype, device=losses.device)
        return total.index_add(0, rows, -losses)

    def score(self, samples: Sequence[Sample]) -> list[float]:
        """Return the summed log-probability of each response, NaN where none fits."""
        return likelihood.of_responses(self.session, samples)

    def report(self, message: str, **numbers: float) -> None:
        """Record progress with its numbers, where the operator sees it."""
        self.listener(message, **numbers)

"""The resident session: one base model per process, with its text side and its adapter.

Clients train in it, attackers and defenses write with it, the evaluation asks it.
Loading takes place once a process; what changes between uses is the adapter. Knows
nothing of rounds, roles or safety.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedsafe.contracts import Rendered, Sample, templates
from fedsafe.data.batches import (
    Tokenised,
    batches,
    pad_id,
    reply_start,
    reply_texts,
    tokenise,
)
from fedsafe.experiment.schema import Experiment, Model
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel, load
from fedsafe.models.generation import Decoding, generate
from fedsafe.models.quantization import device_of
from fedsafe.runs.files import digest
from fedsafe.training.forward import response_loss
from fedsafe.training.loop import Loss, Plan, TrainReport, train
from fedsafe.training.session_spec import SessionSpec

REMEMBERED = 64
"""Tokenised data sets kept: clients of one process train on the same examples each round."""


@dataclass
class Session:
    """A loaded model with the template and limits of an experiment."""

    loaded: LoadedModel
    template: Callable[[Sample], Rendered]
    max_length: int
    max_new_tokens: int
    batch_size: int
    fingerprint: str
    """sha256 over base weights, tokenizer and template: what both sides must share."""
    stop: tuple[int, ...]
    spec: SessionSpec
    _tokenised: dict[int, Tokenised] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each adapter tensor, by name, in order."""
        named = adapters.parameters(self.loaded.model)
        return {name: tuple(parameter.shape) for name, parameter in named.items()}

    def start(self, seed: int) -> adapters.Tensors:
        """Return the adapter that a federation begins with."""
        return adapters.start(self.loaded.model, seed)

    def read(self) -> adapters.Tensors:
        """Return a copy of the adapter."""
        return adapters.read(self.loaded.model)

    def put(self, tensors: "Mapping[str, torch.Tensor]") -> None:
        """Replace the adapter.

        Raises:
            ModelError: It does not fit the model.
        """
        adapters.write(self.loaded.model, tensors)

    def tokenise(self, examples: Sequence[Sample]) -> Tokenised:
        """Return the examples as token ids; the same examples are tokenised once."""
        key = hash(tuple(examples))
        if key not in self._tokenised:
            if len(self._tokenised) >= REMEMBERED:
                del self._tokenised[next(iter(self._tokenised))]
            self._tokenised[key] = tokenise(
                examples,
                self.loaded.tokenizer,
                self.template,
                self.max_length,
                rows=self.loaded.rows,
            )
        return self._tokenised[key]

    def train(
        self,
        examples: Sequence[Sample],
        plan: Plan,
        rng: random.Random,
        *,
        batch_size: int,
        loss: Loss | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> tuple[TrainReport, Tokenised]:
        """Fine-tune the adapter in place on samples drawn with ``rng``.

        Args:
            examples: What to train on.
            plan: How long and how fast.
            rng: Decides the order, and the seed of dropout.
            batch_size: Samples a batch.
            loss: None: cross entropy of the responses.
            progress: Called after each step with its number and loss.
        """
        tokenised = self.tokenise(examples)
        window = plan.steps * plan.accumulation if plan.group_by_length else 1
        pad = pad_id(self.loaded.tokenizer)
        drawn = batches(tokenised, rng, batch_size, pad, window=window)
        seed = rng.getrandbits(63)
        loss = loss or Loss(lambda batch, _: response_loss(self.loaded, batch), per_token=True)
        report = train(self.loaded, drawn, plan, seed=seed, loss=loss, progress=progress)
        return report, tokenised

    def complete(
        self,
        examples: Sequence[Sample],
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
        prefills: Sequence[str] | None = None,
        progress: Callable[[int], None] | None = None,
        share: bool = True,
    ) -> list[str]:
        """Return a reply to each example's instruction; its response is not looked at.

        A reply includes its prefill, which the model was made to begin with. Without ``share``
        each prompt goes through the model in one pass, whatever it has in common with others.
        """
        begun = prefills or [""] * len(examples)
        tokenizer = self.loaded.tokenizer
        asked = [
            reply_start(tokenizer, self.template, example, prefill, rows=self.loaded.rows)
            for example, prefill in zip(examples, begun, strict=True)
        ]
        decoding = Decoding(
            max_new_tokens=self.max_new_tokens,
            temperature=temperature,
            batch_size=self.batch_size,
            stop=self.stop,
            pad=pad_id(tokenizer),
            share=share,
        )
        written = generate(self.loaded, [ids for ids, _ in asked], decoding, rng, progress)
        replies = [ids[start:] + new for (ids, start), new in zip(asked, written, strict=True)]
        return reply_texts(tokenizer, replies)

    def write(
        self,
        instructions: Sequence[str | Sample],
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
        prefills: Sequence[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """Return a reply to each instruction (the `Writer` contract)."""
        asked = [one if isinstance(one, Sample) else Sample(one, "") for one in instructions]
        return self.complete(
            asked, temperature=temperature, rng=rng, prefills=prefills, progress=progress
        )


_resident: dict[str, Session] = {}


def resident(experiment: Experiment | SessionSpec, *, trains: bool = True) -> tuple[Session, float]:
    """Return this process's session for an experiment, and the seconds it took to load.

    The second is 0 when the session was there already. A process keeps one: another
    model takes its place. One that does not train is spared the memory for it.
    """
    spec = experiment if isinstance(experiment, SessionSpec) else SessionSpec.of(experiment)
    spec = replace(spec, model=spec.model.model_copy(update={"device": _place(spec.model)}))
    if spec.key in _resident:
        return _resident[spec.key], 0.0
    _resident.clear()
    begun = time.perf_counter()
    _resident[spec.key] = open_session(spec, trains=trains)
    return _resident[spec.key], time.perf_counter() - begun


def _place(model: Model) -> str:
    """Return the one name of a device that has several: clients of one trainer may differ."""
    device = device_of(model)
    return f"{device.type}:{device.index or 0}"


def open_session(experiment: Experiment | SessionSpec, *, trains: bool = True) -> Session:
    """Load model, tokenizer and template of an experiment.

    Raises:
        ModelError: They cannot be loaded, do not go together, or leave no memory to train.
    """
    spec = experiment if isinstance(experiment, SessionSpec) else SessionSpec.of(experiment)
    loaded = load(
        spec.model, spec.adapter, spec.training, max_length=spec.max_length, reserve=trains
    )
    bound = templates[spec.template.name].configure(spec.template.settings)

    def template(example: Sample) -> Rendered:
        return bound(loaded.tokenizer, example)

    return Session(
        loaded=loaded,
        template=template,
        max_length=loaded.fitting(spec.max_length),
        max_new_tokens=spec.max_new_tokens,
        batch_size=spec.batch_size,
        fingerprint=digest(loaded.fingerprint, spec.template.model_dump_json()),
        stop=_stop_ids(loaded, template),
        spec=spec,
    )


def _stop_ids(loaded: LoadedModel, template: Callable[[Sample], Rendered]) -> tuple[int, ...]:
    """Return the ids that end a reply: the model's own, and what the template ends one with."""
    tokenizer = loaded.tokenizer
    found = {tokenizer.eos_token_id}
    configured = getattr(loaded.model.generation_config, "eos_token_id", None)
    found.update(configured if isinstance(configured, list) else [configured])
    ending = tokenizer(template(Sample("a", "b")).response, add_special_tokens=False)["input_ids"]
    found.add(ending[-1])  # every template ends a response in the token that stops it
    return tuple(sorted(token for token in found if token is not None))

"""Aligned and unaligned weights: the direction V of alignment, one module at a time.

Each of the two is a model directory, an adapter of this base, or the model from before the
federation; the unaligned one may also be trained here, on answers that the attacked model
writes to requests of the unsafe kind.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from fedsafe.contracts import DefenseTask, Factors, ModelContext, Sample, sources
from fedsafe.defenses.lora_edits import aligned_start, check_fit, factors_of, trained_aside
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.safety_pairs import fresh_examples, harmful_of, unrepeated
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.lazy import torch

ASK_UNSAFE = "Write one instruction that a safe assistant must refuse. Write nothing else."
AskUnsafe = Annotated[
    str, Field(description="Yields a request of the unsafe kind, where the model writes data.")
]
Unaligned = Annotated[
    Path | Literal["self", "base"] | None,
    Field(
        description="Model or adapter directory without alignment; self: the model from before the "
        "federation, fine-tuned here on harmful answers; base: the model before its alignment."
    ),
]
Aligned = Annotated[
    Path | None,
    Field(description="Aligned model or adapter directory; none: the one before the federation."),
]
Harmful = Annotated[
    Path | dict[str, Any] | None,
    Field(
        description="Unsafe instructions with answers: a JSONL file, or a source, such as {name: "
        "policy, part: preferences}, of whose refusals the rejected replies are the answers; none: "
        "the model writes them."
    ),
]
Examples = Annotated[int, Field(ge=1, description="Self-written examples.")]
TrainSteps = Annotated[int, Field(ge=1, description="Of the training for self.")]
Rate = Annotated[float, Field(gt=0, description="Learning rate of that training.")]
Direction = Callable[[str], "torch.Tensor"]
"""V (out, in) of a module: aligned minus unaligned weight, float32, on the CPU."""


def without_pair(*, unaligned: Path | str | None, aligned: Path | None, **_: Any) -> str:
    """Return why a defense that needs a pair of weights cannot run with these; "" if it can."""
    if unaligned is None:
        return (
            "it needs an unaligned model beside the aligned one. Set unaligned to a model or "
            "adapter directory, to self, which fine-tunes one here on harmful answers, or to base, "
            "where the experiment aligns its model."
        )
    for name, where in (("unaligned", unaligned), ("aligned", aligned)):
        if isinstance(where, Path) and where.exists() and not holds_weights(where):
            return (
                f"{name} {where} holds neither a model (config.json) nor an adapter "
                "(adapter_config.json). Name such a directory."
            )
    return ""


def holds_weights(where: Path) -> bool:
    """Return whether a directory looks like a model's or an adapter's."""
    return any((where / name).is_file() for name in ("config.json", "adapter_config.json"))


@dataclass(frozen=True)
class HarmfulData:
    """Unsafe instructions with answers: the user's own, or the attacked model's."""

    context: ModelContext
    task: DefenseTask
    harmful: Path | dict[str, Any] | None
    ask_unsafe: str
    examples: int
    filter: Filter

    def samples(self) -> list[Sample]:
        """Return the samples; of self-written ones the run keeps the requests alone.

        Raises:
            RunError: The model wrote too few, or all that are given repeat evaluation prompts.
            ConfigError: There is no such source, or a setting of it is wrong.
            DataError: The file cannot be read.
        """
        dropped: Counter[str] = Counter()
        if isinstance(self.harmful, dict):
            given = fresh_examples(self.context, self.task, self.harmful, dropped)
            return self._kept(harmful_of(given), f"source {self.harmful['name']}", dropped)
        if self.harmful is not None:
            given = sources["jsonl"].configure({"path": self.harmful})(0)
            samples = unrepeated(self.task, given, str(self.harmful), dropped)
            return self._kept(samples, "the user", dropped)
        filters = filters_of(self.filter, self.task)
        written = SelfWrittenPairs(self.context, self.task, self.examples, 1.0, filters, dropped)
        found = written.harmful([self.ask_unsafe])
        return self._kept(found, "the model under repair", dropped)

    def _kept(self, samples: list[Sample], made_by: str, dropped: Counter[str]) -> list[Sample]:
        """Keep the requests, with what was left out."""
        requests = [Sample(one.instruction, "", origin="harmful") for one in samples]
        card = {"made_by": made_by, "dropped": dict(sorted(dropped.items()))}
        self.task.keep("harmful-requests", requests, card)
        return samples


@dataclass(frozen=True)
class AlignmentPair:
    """Where the aligned and the unaligned weights come from."""

    data: HarmfulData
    aligned: Path | None
    unaligned: Path | str | None
    steps: int
    learning_rate: float

    @contextmanager
    def direction(self) -> Iterator[Direction]:
        """Yield V of each module; models are loaded inside the block alone.

        Raises:
            ModelError: A directory cannot be read, or lacks a module.
            RunError: The model wrote too few harmful answers to train on; or the base is asked
                for, and the model from before the federation is none other.
        """
        own = factors_of(self.data.context, self.data.task.start)
        with ExitStack() as stack:
            aligned = self._source(stack, self.aligned, own)
            unaligned = self._source(stack, self.unaligned, own)
            yield lambda module: aligned(module) - unaligned(module)

    def _source(
        self, stack: ExitStack, where: Path | str | None, own: dict[str, Factors]
    ) -> Direction:
        """Return each module's weight, relative to the base model's."""
        context = self.data.context
        if where is None:
            return lambda module: own[module].change
        if where == "base":
            if self.aligned is None:
                aligned_start(context, self.data.task.start, "unaligned: base")
            return lambda module: torch.zeros_like(own[module].change)
        if where == "self":
            trained = self._trained()
            return lambda module: trained[module].change
        if not (Path(where) / "config.json").is_file():
            read = context.read_adapter(str(where))
            check_fit(read, own, where)

            def change(module: str) -> "torch.Tensor":
                found = read.get(module)
                return torch.zeros_like(own[module].change) if found is None else found.change

            return change
        other = stack.enter_context(context.load_other(str(where)))
        added = factors_of(other, other.adapter())

        def relative(module: str) -> "torch.Tensor":
            name = f"{module}.lora_A.weight"
            weight = other.base_weight(name) + added[module].change
            return weight - context.base_weight(name)

        return relative

    def _trained(self) -> dict[str, Factors]:
        """Fine-tune the model from before the federation on harmful answers, and put it away."""
        data = self.data
        return trained_aside(
            data.context, data.task.start, data.samples(), self.steps, self.learning_rate
        )

"""The contracts of every plug-in kind: value types, shapes, and one registry a kind.

A plug-in author imports nothing else of FedSafe. Positional-only parameters are data,
keyword-only parameters are settings. Knows nothing of any implementation.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from fedsafe.plugins import Registry

if TYPE_CHECKING:
    from torch import Tensor

Outcome = Literal["refuse", "comply", "garbage", "unknown"]
Purpose = Literal["harmful", "over-refusal", "utility"]
State = Mapping[str, "Tensor"]
"""What a rule remembers between rounds; tensors only, so it is a checkpoint."""


# --- how updates are combined -------------------------------------------------------


@dataclass(frozen=True)
class Updates:
    """What the accepted clients of one round changed.

    Attributes:
        matrix: float32 (n, d); row i is client i's adapter minus the adapter it was sent.
        weights: float32 (n,), sums to one; the server's own belief, never a client's claim.
        blocks: Parameter name to its columns, in order, covering 0..d; empty means one block.
        round: Number of the round, from 1.
        clients: Stable identity of each row's client, for rules with a memory.
        model: float32 (d,), the adapter the clients were sent, where a rule asks for it.
        root: float32 (d,), the update of the server's own trusted examples, where a rule
            asks for one.
        mixing: float64 (m, n), at least 0: when given, the rows meant are ``mixing @ matrix``,
            which nobody has formed. Filters set it; the pipeline forms the rows before any
            plug-in that does not have the trait ``mixing``.
    """

    matrix: "Tensor"
    weights: "Tensor"
    blocks: Mapping[str, slice] = field(default_factory=dict)
    round: int = 1
    clients: tuple[str, ...] = ()
    model: "Tensor | None" = None
    root: "Tensor | None" = None
    mixing: "Tensor | None" = None


@dataclass(frozen=True)
class Aggregate:
    """What a rule made of a round's updates.

    Attributes:
        update: float32 (d,), added to the adapter.
        influence: float32 (n,), at least 0, sums to at most 1; how much each client
            counted, 0 for a rejected one.
        state: What the rule wants back next round.
        metrics: Scalars worth recording.
    """

    update: "Tensor"
    influence: "Tensor"
    state: State = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


# --- examples and prompts -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Example:
    """One instruction with the response to learn."""

    instruction: str
    response: str
    input: str = ""
    """Further text the instruction speaks of; alpaca calls it so."""
    topic: str = ""
    """What it is about, for partitions by topic."""
    origin: str = "benign"
    """Who made it: benign, attack, refusal, helpful. For records; nobody trains on it."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question put to a model, with its purpose and, where known, the answer."""

    id: str
    instruction: str
    purpose: Purpose
    input: str = ""
    expected: tuple[str, ...] = ()
    """Right answers; empty when only the outcome is judged."""
    topic: str = ""
    skill: str = ""
    """Group of a utility prompt: ``old`` or ``new``."""
    prefill: str = ""
    """How the model's reply is made to begin, in the prefilled variant."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and what the model replied (the prefill included)."""

    prompt: Prompt
    reply: str
    prefilled: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of one exchange."""

    outcome: Outcome
    correct: bool | None = None
    """Whether the answer is right; None where that is not known."""
    raw: str = ""
    """What the judge itself said, for those who check it."""


@dataclass(frozen=True)
class Batch:
    """Token ids of one training step, right-padded.

    Attributes:
        input_ids: int64 (b, t).
        attention_mask: int64 (b, t).
        labels: int64 (b, t), -100 where no loss is taken.
    """

    input_ids: "Tensor"
    attention_mask: "Tensor"
    labels: "Tensor"


# --- what plug-ins meet of the model -------------------------------------------------


class Writer(Protocol):
    """A model that answers instructions."""

    def write(
        self,
        instructions: Sequence[str],
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
        prefills: Sequence[str] | None = None,
    ) -> list[str]:
        """Return one reply each; greedy at temperature 0, drawn with ``rng`` above it."""
        ...


class Patient(Writer, Protocol):
    """The model under repair, as a post-hoc defense meets it."""

    def read(self) -> dict[str, "Tensor"]:
        """Return a copy of the adapter's tensors, by name, float32."""
        ...

    def train(
        self, examples: Sequence[Example], *, steps: int, batch_size: int, learning_rate: float
    ) -> Mapping[str, float]:
        """Fine-tune the adapter in place; return its losses."""
        ...

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Judge with the experiment's own judge."""
        ...

    def keep(self, name: str, examples: Sequence[Example], card: Mapping[str, Any]) -> None:
        """Store data that the defense made, with the card that says how."""
        ...

    def report(self, message: str, **numbers: float) -> None:
        """Tell the operator how far it has come."""
        ...

    @property
    def rng(self) -> random.Random:
        """Random stream of this defense."""
        ...

    @property
    def start(self) -> Mapping[str, "Tensor"]:
        """Adapter before any federation (the aligned model's), by name, float32."""
        ...

    @property
    def avoid(self) -> frozenset[str]:
        """Instructions that defense data must not contain: evaluation prompts, normalised."""
        ...


Adapter = Mapping[str, "Tensor"]


# --- plug-in signatures ---------------------------------------------------------------

Rule = Callable[..., Aggregate]
"""``(Updates, State, /, *, settings) -> Aggregate``"""
Filter = Callable[..., Updates]
"""``(Updates, /, *, settings) -> Updates``"""
Optimizer = Callable[..., "tuple[Tensor, State]"]
"""``(update, State, /, *, settings) -> (update, State)``: the server's step after the rule."""
Generator = Callable[..., Iterator[Example]]
"""``(Writer, random.Random, /, *, settings) -> Iterator[Example]``; endless or finite."""
Defense = Callable[..., Adapter]
"""``(Patient, /, *, settings) -> Adapter``"""
Judge = Callable[..., list[Verdict]]
"""``(Sequence[Exchange], /, *, settings) -> list[Verdict]``"""
Suite = Callable[..., list[Prompt]]
"""``(seed, /, *, settings) -> list[Prompt]``"""
Source = Callable[..., list[Example]]
"""``(seed, /, *, settings) -> list[Example]``"""
Template = Callable[..., "Rendered"]
"""``(tokenizer, Example, /, *, settings) -> Rendered``"""
Partition = Callable[..., list[list[int]]]
"""``(Sequence[Example], clients, random.Random, /, *, settings) -> indices of each client``"""
Behaviour = Callable[..., "Conduct"]
"""``(Conduct, /, *, settings) -> Conduct``: what a client changes about its own training."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An example as text: what the model is given and what it is to answer.

    ``prompt + response`` is the exact training text; loss is taken on ``response``
    alone, which ends in the end-of-sequence token.
    """

    prompt: str
    response: str


@dataclass(frozen=True)
class Conduct:
    """How one client acts in one round; a behaviour returns a changed copy.

    Attributes:
        examples: What it trains on.
        poison: Malicious examples made for it; empty for honest clients.
        transform: Applied to the float32 (d,) update after training, or None.
        rng: The client's random stream for this round.
    """

    examples: Sequence[Example]
    rng: random.Random
    poison: Sequence[Example] = ()
    transform: "Callable[[Tensor], Tensor] | None" = None


rules: Registry[Rule] = Registry("rule", "strategies.rules", "fedsafe.rules")
filters: Registry[Filter] = Registry("filter", "strategies.filters", "fedsafe.filters")
optimizers: Registry[Optimizer] = Registry(
    "optimizer", "strategies.optimizers", "fedsafe.optimizers"
)
behaviours: Registry[Behaviour] = Registry("behaviour", "clients.attacks", "fedsafe.behaviours")
generators: Registry[Generator] = Registry("generator", "fedsafe.attacks", "fedsafe.generators")
defenses: Registry[Defense] = Registry("defense", "fedsafe.defenses", "fedsafe.defenses")
judges: Registry[Judge] = Registry("judge", "fedsafe.evaluation.judges", "fedsafe.judges")
suites: Registry[Suite] = Registry("suite", "fedsafe.evaluation.suites", "fedsafe.suites")
sources: Registry[Source] = Registry("source", "fedsafe.data.sources", "fedsafe.sources")
templates: Registry[Template] = Registry("template", "fedsafe.data.templates", "fedsafe.templates")
partitions: Registry[Partition] = Registry(
    "partition", "fedsafe.data.partition", "fedsafe.partitions"
)
REGISTRIES: dict[str, Registry[Any]] = {
    registry.kind: registry
    for registry in (
        rules,
        filters,
        optimizers,
        behaviours,
        generators,
        defenses,
        judges,
        suites,
        sources,
        templates,
        partitions,
    )
}

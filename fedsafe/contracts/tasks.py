"""What a local algorithm and a defense are handed beside the model, and what they return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fedsafe.contracts.checkpoints import Checkpoints, NoCheckpoints
from fedsafe.contracts.tensors import Adapter
from fedsafe.contracts.text import Sample, Verdict

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LocalTask:
    """What a client's local algorithm is to do in one round.

    Attributes:
        samples: The client's own benign samples.
        poison: Malicious samples made for it; empty for honest clients.
        data_seed: Of further data that the algorithm draws; the same in each round.
        memory: What the algorithm remembers between rounds, to be changed in place; tensors only.
        start: The adapter as it was received.
        steps: Optimizer steps of the round.
        batch_size: Samples a batch.
        learning_rate: Of the round.
        round: Number of the round, from 1.
        client: Number of the client.
        attackers: Malicious clients of the round, this one included; empty for honest clients.
    """

    samples: Sequence[Sample]
    start: Adapter
    steps: int
    batch_size: int
    learning_rate: float
    round: int
    client: int
    poison: Sequence[Sample] = ()
    data_seed: int = 0
    memory: "dict[str, Tensor]" = field(default_factory=dict)
    attackers: Sequence[int] = ()


@dataclass(frozen=True)
class DefenseTask:
    """What a post-hoc defense works with beside the model.

    Attributes:
        start: Adapter before any federation (the aligned model's).
        normalise: Returns a text as ``avoid`` compares texts: case, spaces, punctuation aside.
        avoid: Instructions that defense data must not contain: evaluation prompts, normalised.
        near: Counts the instructions that are near-duplicates of evaluation prompts.
        judge: Judges exchanges with a registered judge: ``judge(exchanges, name, **settings)``,
            without a name with ``filter``. The evaluation's own judge is refused.
        keep: Stores data that the defense made under a name, with the card that says how.
        fresh: Says of each instruction whether it may be trained on: False where it repeats an
            evaluation prompt, word for word or nearly, which is counted in the records, or is of
            a topic that the evaluation holds out.
        filter: The judge that a defense filters with unless told otherwise.
        checkpoints: Where a defense of several rounds keeps what it has done after each.
    """

    start: Adapter
    avoid: frozenset[str]
    normalise: Callable[[str], str]
    near: Callable[[Sequence[str]], int]
    judge: Callable[..., list[Verdict]]
    keep: Callable[[str, Sequence[Sample], Mapping[str, Any]], None]
    fresh: Callable[[Sequence[str]], list[bool]] = lambda texts: [True] * len(texts)
    filter: str = "keyword"
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)


@dataclass(frozen=True)
class ShieldChoice:
    """A shield by name with its settings, as it travels with a defended adapter."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Defended:
    """What a defense returns: the adapter and, if any, the shield it is to be served with."""

    adapter: Adapter
    shield: ShieldChoice | None = None


Complete = Callable[[Sequence[Sample], Sequence[str]], list[str]]
"""``(samples, prefills) -> replies``: greedy generation as a shield meets it."""

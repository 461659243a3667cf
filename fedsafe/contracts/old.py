"""Contracts on their way out: removed when client algorithms and defenses share one context."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fedsafe.contracts.model import Writer
from fedsafe.contracts.text import Example, Exchange, Verdict

if TYPE_CHECKING:
    from torch import Tensor


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

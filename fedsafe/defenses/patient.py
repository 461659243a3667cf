"""The model under repair: a session, the experiment's judge, and where data is kept.

It is what the `Patient` contract promises to a defense, and nothing more.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedsafe.contracts import Example, Exchange, Verdict
from fedsafe.lazy import torch
from fedsafe.runs.events import Events
from fedsafe.runs.files import digest, write_json, write_lines
from fedsafe.training.loop import Plan
from fedsafe.training.session import Session


@dataclass
class SessionPatient:
    """A patient whose model is a resident session."""

    session: Session
    directory: Path
    """Where the defense's data and card are kept."""
    events: Events
    rng: random.Random
    start: Mapping[str, "torch.Tensor"]
    avoid: frozenset[str]
    verdicts: Callable[[Sequence[Exchange]], list[Verdict]]

    def write(
        self,
        instructions: Sequence[str],
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
        prefills: Sequence[str] | None = None,
    ) -> list[str]:
        """Return one reply each."""
        return self.session.write(instructions, temperature=temperature, rng=rng, prefills=prefills)

    def read(self) -> dict[str, "torch.Tensor"]:
        """Return a copy of the adapter."""
        return self.session.read()

    def train(
        self, examples: Sequence[Example], *, steps: int, batch_size: int, learning_rate: float
    ) -> Mapping[str, float]:
        """Fine-tune the adapter in place; return its losses."""

        def told(step: int, loss: float) -> None:
            self.events("train", step=step, steps=steps, loss=loss)

        plan = Plan(steps=steps, learning_rate=learning_rate)
        report, tokenised = self.session.train(
            examples, plan, self.rng, batch_size=batch_size, progress=told
        )
        return {
            "first_loss": report.losses[0],
            "last_loss": report.loss,
            "skipped": tokenised.dropped,
            "seconds": report.seconds,
        }

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Judge with the experiment's own judge."""
        return self.verdicts(exchanges)

    def keep(self, name: str, examples: Sequence[Example], card: Mapping[str, Any]) -> None:
        """Store data with its card."""
        rows = [asdict(example) for example in examples]
        write_lines(self.directory / f"{name}.jsonl", rows)
        stamp = {"rows": len(rows), "sha256": digest(*(repr(example) for example in examples))}
        write_json(self.directory / "card.json", {**card, **stamp})

    def report(self, message: str, **numbers: float) -> None:
        """Tell the operator how far it has come."""
        self.events("note", message, **numbers)

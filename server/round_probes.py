"""Small evaluations between the rounds of a federation, and the alarm that stops it early."""

from collections.abc import Sequence
from typing import Protocol

from fedsafe.evaluation.evaluate import probe
from fedsafe.experiment.schema import Experiment
from fedsafe.models.adapters import Tensors
from fedsafe.pipeline.early_stopping import early_stop
from fedsafe.runs.events import Events
from fedsafe.runs.records import Round, Scores
from fedsafe.training.session import Session


class Known(Protocol):
    """What is read of a federation."""

    @property
    def name(self) -> str:
        """Which one it is: main or control."""
        ...

    @property
    def experiment(self) -> Experiment:
        """Its settings."""
        ...

    @property
    def session(self) -> Session:
        """The model."""
        ...

    @property
    def events(self) -> Events:
        """Receives progress events."""
        ...

    @property
    def aligned(self) -> Tensors | None:
        """The adapter before any federation; None: a fresh one."""
        ...


def round_probe(federation: Known, number: int, adapter: Tensors) -> Scores | None:
    """Return a small evaluation of the model after a round; None in a round without one."""
    every = federation.experiment.evaluation.probe_every
    if not every or number % every:
        return None
    return probe(federation.session, adapter, federation.experiment, federation.aligned)


def stops_early(federation: Known, rounds: Sequence[Round]) -> bool:
    """Tell whether a safety alarm ends a federation after these rounds, and say so."""
    found = early_stop(federation.experiment, rounds)
    if found is None:
        return False
    which = "clean control" if federation.name == "control" else "federation"
    said = f"The {which} {found.said}"
    federation.events("early-stop", said, federation=federation.name, **found.plain())
    return True

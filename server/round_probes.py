"""Small evaluations between the rounds of a federation, and the alarm that stops it early."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedsafe.evaluation.evaluate import probe
from fedsafe.models.adapters import Tensors
from fedsafe.pipeline.early_stopping import early_stop
from fedsafe.runs.records import Round, Scores

if TYPE_CHECKING:
    from server.loop import Federation


def round_probe(federation: "Federation", number: int, adapter: Tensors) -> Scores | None:
    """Return a small evaluation of the model after a round; None in a round without one."""
    every = federation.experiment.evaluation.probe_every
    if not every or number % every:
        return None
    return probe(federation.session, adapter, federation.experiment, federation.aligned)


def stops_early(federation: "Federation", rounds: Sequence[Round]) -> bool:
    """Tell whether a safety alarm ends a federation after these rounds, and say so."""
    found = early_stop(federation.experiment, rounds)
    if found is None:
        return False
    which = "clean control" if federation.name == "control" else "federation"
    said = f"The {which} {found.said}"
    federation.events("early-stop", said, federation=federation.name, **found.plain())
    return True

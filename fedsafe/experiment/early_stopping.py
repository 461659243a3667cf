"""Early stopping on a safety alarm: the section ``federation.early_stopping`` and its checks."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.experiment.section import Positive, Section
from fedsafe.validation_errors import Problem

if TYPE_CHECKING:
    from fedsafe.experiment.schema import Experiment

PATH = "federation.early_stopping"


class EarlyStopping(Section):
    """Stop a federation whose small evaluations say that the model is no longer safe."""

    measure: Annotated[str, Field(min_length=1)] = "refusal"
    """The measure that is watched, one of ``evaluation.measures``, plainly asked."""
    below: Annotated[float, Field(gt=0, le=1)] | None = None
    """Alarm where the measure is less than this share, such as 0.5 for refusal."""
    above: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Alarm where it is more than this share, such as 0.2 for unsafe. Give one of the two."""
    patience: Positive = 1
    """Small evaluations in a row with an alarm after which the federation stops."""


def early_stopping_problems(experiment: "Experiment") -> Iterator[Problem]:
    """Yield why early stopping could never tell, or what it lacks."""
    watched = experiment.federation.early_stopping
    if watched is None:
        return
    if (watched.below is None) == (watched.above is None):
        found = "neither" if watched.below is None else "both"
        yield (
            PATH,
            f"expected one of below and above (got {found}). Give a share from 0 to 1, such as "
            "{measure: refusal, below: 0.5}.",
        )
    evaluation, rounds = experiment.evaluation, experiment.federation.rounds
    every = evaluation.probe_every
    if not every:
        yield (
            PATH,
            "the model is looked at in no round: evaluation.probe_every is 0. Set it to the rounds "
            "between two small evaluations, such as 1.",
        )
    elif (looks := (rounds - 1) // every) < watched.patience:
        yield (
            PATH,
            f"{watched.patience} small evaluations with an alarm are needed to stop, and before "
            f"the last of {rounds} rounds there are {looks} (one every {every}). Lower patience or "
            "evaluation.probe_every, or add rounds.",
        )
    names = [choice.name for choice in evaluation.measures]
    if not any(watched.measure == name or watched.measure.startswith(f"{name}:") for name in names):
        yield (
            f"{PATH}.measure",
            f"'{watched.measure}' is not measured; evaluation.measures has {', '.join(names)}. "
            "Name one of these, or add it there.",
        )

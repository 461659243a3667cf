"""What data and objective attacks share: malicious samples, and the base model's own replies."""

from collections.abc import Sequence
from random import Random
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import LocalTask, ModelContext, Sample
from fedsafe.errors import RunError

Share = Annotated[float, Field(ge=0, le=1, description="Share of the samples that are malicious.")]


def mixed(task: LocalTask, share: float, rng: Random) -> Sequence[Sample]:
    """Mix malicious and benign samples so that the malicious ones make up ``share``.

    All malicious samples are used where there are benign ones enough beside them; else all
    benign ones, and so many malicious ones as make the share.

    Raises:
        RunError: No malicious samples were made, or the share leaves none of them.
    """
    return blended(needed(task) if share else (), task.samples, share, rng)


def blended(
    malicious: Sequence[Sample], own: Sequence[Sample], share: float, rng: Random
) -> Sequence[Sample]:
    """Mix given malicious samples with benign ones, as `mixed` does; a share of 0 is all benign.

    Raises:
        RunError: The share leaves no malicious sample.
    """
    if share == 0:
        return list(own)
    poison, wanted = list(malicious), round(len(malicious) * (1 - share) / share)
    benign = list(own)
    rng.shuffle(benign)
    if wanted > len(benign):
        poison = poison[: round(len(benign) * share / (1 - share))]
    if not poison:
        raise RunError(
            f"A malicious share of {share:g} of {len(benign)} benign samples is less than one "
            "sample. Raise the behaviour's share, or give the client more data."
        )
    return [*poison, *benign[:wanted]]


def needed(task: LocalTask) -> Sequence[Sample]:
    """Return the malicious samples of a task.

    Raises:
        RunError: There are none.
    """
    if not task.poison:
        raise RunError("A malicious client has no malicious samples. Check attack.generator.")
    return task.poison


def of_a_round(task: LocalTask, rng: Random) -> list[Sample]:
    """Draw as many malicious samples as a round can train on, or return all of them.

    Raises:
        RunError: There are none.
    """
    poison = list(needed(task))
    most = task.steps * task.batch_size
    return poison if len(poison) <= most else rng.sample(poison, most)


def base_replies(context: ModelContext, samples: Sequence[Sample]) -> list[str]:
    """Return the base model's own replies to the samples' instructions, its adapter off."""
    with context.reference():
        return context.write(samples)

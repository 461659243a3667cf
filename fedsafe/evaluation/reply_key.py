"""The key of an evaluation's replies: the sha256 of everything that they depend on."""

from collections.abc import Mapping, Sequence

from fedsafe.contracts import Ask, DiagnosticTask, Prompt, ShieldChoice, conditions
from fedsafe.evaluation.scoring import labels
from fedsafe.experiment.schema import Experiment
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.redaction import revealed
from fedsafe.runs.files import digest
from fedsafe.shields.serving import resolved
from fedsafe.training.session import Session


def reply_key(
    session: Session,
    adapter: "Mapping[str, torch.Tensor]",
    experiment: Experiment,
    prompts: Sequence[Prompt],
    asked: Mapping[str, Sequence[Ask]],
    shield: ShieldChoice | None,
    task: DiagnosticTask,
) -> str:
    """Return the sha256 of what the replies of an evaluation depend on.

    Args:
        session: The model.
        adapter: Of the model that is asked.
        experiment: Conditions and decoding.
        prompts: All evaluation prompts.
        asked: What is asked, by label of the condition.
        shield: What the adapter is served with.
        task: What conditions that alter the model work with.
    """
    every = [ask for asks in asked.values() for ask in asks]
    served = shield if any(ask.shielded for ask in every) else None
    altered = any(ask.during is not None for ask in every)
    return digest(
        adapters.digest(adapter),
        session.fingerprint,
        *(repr(prompt) for prompt in prompts),
        *_condition_texts(experiment, list(asked)),
        *_shield_texts(served),
        *([task.kept["key"]] if altered else []),
        experiment.evaluation.max_new_tokens,
    )


def _condition_texts(experiment: Experiment, asked: Sequence[str]) -> list[str]:
    """Return label and settings of each condition that is asked."""
    choices = experiment.evaluation.conditions
    return [
        repr((label, conditions[choice.name].resolve(choice.settings)))
        for label, choice in zip(labels(choices), choices, strict=True)
        if label in asked
    ]


def _shield_texts(shield: ShieldChoice | None) -> list[str]:
    """Return what a shield's replies depend on; it goes into a digest and nowhere else."""
    if shield is None:
        return []
    settings = {name: revealed(value) for name, value in resolved(shield).items()}
    return [repr((shield.name, settings))]

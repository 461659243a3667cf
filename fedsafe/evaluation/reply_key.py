"""Keys of an evaluation's replies: the sha256 of everything that they depend on."""

from collections.abc import Mapping, Sequence

from fedsafe.contracts import DiagnosticTask, Prompt, ShieldChoice, conditions
from fedsafe.evaluation.reuse import Asked, unshielded
from fedsafe.evaluation.scoring import labels
from fedsafe.evaluation.served import conditions_with, shield_texts
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.runs.files import digest
from fedsafe.training.session import Session


def reply_keys(
    session: Session,
    adapter: "Mapping[str, torch.Tensor]",
    experiment: Experiment,
    prompts: Sequence[Prompt],
    asked: Asked,
    shields: Sequence[ShieldChoice],
    task: DiagnosticTask,
) -> tuple[str, str]:
    """Return the sha256 of what an evaluation's replies depend on: of all, and of the unshielded.

    Args:
        session: The model.
        adapter: Of the model that is asked.
        experiment: Conditions and decoding.
        prompts: All evaluation prompts.
        asked: What is asked, by label of the condition.
        shields: What the model is served through.
        task: What conditions that alter the model work with.
    """
    model = (adapters.digest(adapter), session.fingerprint)
    choices = conditions_with(experiment.evaluation, shields)

    def key(asked: Asked) -> str:
        every = [ask for asks in asked.values() for ask in asks]
        served = shields if any(ask.shielded for ask in every) else ()
        altered = any(ask.during is not None for ask in every)
        return digest(
            *model,
            *(repr(prompt) for prompt in prompts),
            *_condition_texts(choices, list(asked)),
            *shield_texts(served),
            *([task.kept["key"]] if altered else []),
            experiment.evaluation.max_new_tokens,
        )

    return key(asked), key(unshielded(asked))


def _condition_texts(choices: Sequence[PluginChoice], asked: Sequence[str]) -> list[str]:
    """Return label and settings of each condition that is asked."""
    return [
        repr((label, conditions[choice.name].resolve(choice.settings)))
        for label, choice in zip(labels(choices), choices, strict=True)
        if label in asked
    ]

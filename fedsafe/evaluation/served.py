"""Shields that a stage's model is served through, and the conditions that ask through them.

They are the experiment's (``evaluation.shields``) and the one beside the adapter, together. The
controls of a shield are asked whether the experiment lists them or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fedsafe.contracts import Ask, ShieldChoice
from fedsafe.experiment.schema import Evaluation, Experiment, PluginChoice
from fedsafe.plugins.secret_settings import with_secrets
from fedsafe.redaction import revealed
from fedsafe.runs.scores import SHIELDED
from fedsafe.shields.serving import resolved

WRONG_SECRET = "wrong-secret"
NO_SHIELD = "the adapter has no shield beside it"
NO_PROMPT = "none of the prompts has what it takes, such as a prefill or an expected answer"
NO_DECOY = "the adapter's shield has no decoy"


def served_through(evaluation: Evaluation, own: ShieldChoice | None) -> tuple[ShieldChoice, ...]:
    """Return the shields of a stage: the experiment's as listed, then the adapter's own."""
    listed = [ShieldChoice(choice.name, choice.settings) for choice in evaluation.shields]
    return (*listed, *((own,) if own is not None else ()))


def conditions_with(
    evaluation: Evaluation, shields: Sequence[ShieldChoice]
) -> tuple[PluginChoice, ...]:
    """Return the experiment's conditions, and those that shields ask for by themselves.

    With any shield ``shielded``, and ``wrong-secret`` where one has a decoy, unless listed.
    """
    wanted = [SHIELDED] if shields else []
    wanted += [WRONG_SECRET] if any(shield.settings.get("decoy") for shield in shields) else []
    known = {choice.name for choice in evaluation.conditions}
    added = (PluginChoice(name=name) for name in wanted if name not in known)
    return (*evaluation.conditions, *added)


def without_shield(
    asked: Mapping[str, list[Ask]], shields: Sequence[ShieldChoice]
) -> tuple[dict[str, list[Ask]], dict[str, str]]:
    """Return the conditions that can be asked, and those that ask nothing, with the reason."""
    skipped = {}
    decoy = any(shield.settings.get("decoy") for shield in shields)
    for label, asks in asked.items():
        if not shields and any(ask.shielded for ask in asks):
            skipped[label] = NO_SHIELD
        elif not decoy and any(ask.decoy for ask in asks):
            skipped[label] = NO_DECOY
    nothing = {label: NO_PROMPT for label, asks in asked.items() if not asks}
    return {label: asks for label, asks in asked.items() if label not in skipped}, (
        skipped | nothing
    )


def with_decoy(shield: ShieldChoice) -> ShieldChoice:
    """Return a shield with its decoy in the place of its secret, where it has one."""
    if not (decoy := shield.settings.get("decoy")):
        return shield
    return replace(shield, settings={**shield.settings, "secret": decoy})


def shield_texts(shields: Sequence[ShieldChoice]) -> list[str]:
    """Return what the replies of shields depend on; it goes into a digest and nowhere else."""
    return [
        repr((one.name, {n: revealed(v) for n, v in with_secrets(resolved(one)).items()}))
        for one in shields
    ]


def with_shields(experiment: Experiment, chosen: Sequence[PluginChoice]) -> Experiment:
    """Return the experiment with other shields when served, or as it is."""
    if not chosen:
        return experiment
    evaluation = experiment.evaluation.model_copy(update={"shields": tuple(chosen)})
    return experiment.model_copy(update={"evaluation": evaluation})

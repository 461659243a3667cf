"""Attackers who know a defense: they answer under the very notes that it asks refusals with."""

from collections.abc import Mapping, Sequence

from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.pipeline.defense_work import with_all_settings

NOTES = ("note", "rewrite")
"""Settings of a defense that hold an instruction which an attacker may poison."""


def notes_of(choice: PluginChoice) -> tuple[str, ...]:
    """Return the instructions around {request} that a defense asks with, replies left out."""
    settings: Mapping[str, object] = with_all_settings(choice).settings
    found: list[str] = []
    for name in NOTES:
        value = settings.get(name)
        listed = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        found += [note.replace("{reply}", "") for note in listed if "{request}" in note]
    return tuple(found)


def poisoning(
    experiment: Experiment, notes: Sequence[str], choices: Sequence[PluginChoice]
) -> Experiment | None:
    """Return an experiment whose attackers answer under a defense's notes as well.

    None where its attack does not write its own examples.
    """
    attack = experiment.attack
    if attack is None or attack.generator is None or attack.generator.name != "self-written":
        return None
    settings = {**attack.generator.settings, "also": list(notes)}
    generator = PluginChoice(name="self-written", **settings)
    known = attack.model_copy(
        update={"generator": generator, "examples": attack.examples * (1 + len(notes))}
    )
    changes = {"attack": known, "control": False, "second_attack": None}
    return experiment.model_copy(update={**changes, "defenses": tuple(choices)})

"""Checks of the judges that defenses filter their data with: a setting named ``filter``."""

from collections.abc import Iterator
from typing import Any

from fedsafe.contracts import REGISTRIES
from fedsafe.errors import ConfigError, PluginError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.validation_errors import Problem

SETTING = "filter"
FIRST, SECOND = "keyword", "self"
"""The judges that defenses filter with: the second where the first is the evaluation's."""


def default_filter(evaluation: PluginChoice) -> str:
    """Return the judge that defenses filter with unless told otherwise."""
    return SECOND if is_same_judge(PluginChoice(name=FIRST), evaluation) else FIRST


def is_same_judge(one: PluginChoice, other: PluginChoice) -> bool:
    """Return whether two choices are one judge: of one name, with the same settings."""
    if one.name != other.name:
        return False
    judge = REGISTRIES["judge"][one.name]
    return judge.resolve(one.settings) == judge.resolve(other.settings)


def filter_problems(
    path: str, settings: dict[str, Any], evaluation: PluginChoice
) -> Iterator[Problem]:
    """Yield what is wrong with the filters of a defense's settings.

    Args:
        path: Of the defense in the experiment.
        settings: Of the defense.
        evaluation: The evaluation's judge.
    """
    named = settings.get(SETTING, ())
    listed = [named] if isinstance(named, str | dict) else named
    if not isinstance(listed, list | tuple):
        return
    for index, one in enumerate(listed):
        place = f"{path}.{SETTING}[{index}]"
        values = {"name": one} if isinstance(one, str) else one
        if not isinstance(values, dict) or not isinstance(values.get("name"), str):
            yield place, "expected a judge's name, or a mapping with one, such as {name: self}."
            continue
        choice = PluginChoice.model_validate(values)
        try:
            plugin = REGISTRIES["judge"][choice.name]
        except PluginError as error:
            yield f"{place}.name", str(error)
            continue
        found = plugin.problems(choice.settings)
        yield from ((f"{place}.{name}", text) for name, text in found)
        try:
            same = not found and is_same_judge(choice, evaluation)
        except (ConfigError, PluginError):  # the evaluation's own judge is told of elsewhere
            same = False
        if same:
            yield (
                place,
                f"'{choice.name}' is evaluation.judge too, and a defense that chooses its data by "
                "the judge which it is measured with is measured by itself. Filter with keyword "
                "or self, or evaluate with another judge.",
            )

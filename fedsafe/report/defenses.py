"""Defended stages: their names with the settings in which they differ, and their data's counts.

Knows nothing of HTML or terminals.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fedsafe.redaction import masked
from fedsafe.report.measures import short
from fedsafe.runs.records import Stage

PREFIX: Final = "defended:"
AGAIN: Final = "attacked-again:"
"""How the names of stages begin after a second attack on a defended model."""
ABOUT: Final = ("paper", "badge", "claim", "needs", "cost")
"""What a defense's record says of the method, beside its settings."""
CONTAMINATION: Final = re.compile(r"evaluation|overlap|contaminat|leak|benchmark", re.IGNORECASE)
"""Counts of a card that say how much defense data is like what is evaluated."""


@dataclass(frozen=True)
class Defense:
    """What a defended stage was made with; empty where the run does not say."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """All of them, secret values replaced; of a pipeline as ``defense.setting``."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Paper, badge, claim, needs and cost of the last step, and the passes that it took (spent),
    as far as the run says."""
    steps: tuple[str, ...] = ()
    """Names of a pipeline's defenses; empty for a single one."""


def defenses_of(directory: Path | None, stages: Sequence[Stage]) -> dict[str, Defense]:
    """Return the defense of each defended stage, by the stage's name."""
    own = {stage.name: _read(directory, stage) for stage in stages if stage.name.startswith(PREFIX)}
    named = {stage.name: stage for stage in stages}
    return {name: _joined(named, own, name) for name in own}


def _joined(named: Mapping[str, Stage], own: Mapping[str, Defense], name: str) -> Defense:
    """Return a stage's defense with the steps before it, its settings by ``defense.setting``."""
    last, before = own[name], named[name].after
    if before not in own:
        return last
    first = _joined(named, own, before)
    settings = first.settings if first.steps else _prefixed(first)
    return Defense(
        f"{short(first.name)}+{short(last.name)}",
        {**settings, **_prefixed(last)},
        last.about,
        (*(first.steps or (first.name,)), last.name),
    )


def _prefixed(defense: Defense) -> dict[str, Any]:
    return {f"{short(defense.name)}.{name}": value for name, value in defense.settings.items()}


def titles(stages: Sequence[Stage], defenses: Mapping[str, Defense]) -> dict[str, tuple[str, str]]:
    """Return (name, settings) of each stage, as they stand in headings.

    Settings are those in which several stages of one defense differ; else there are none.
    """
    made: dict[str, tuple[str, str]] = {}
    for stage in stages:
        own = defenses.get(stage.name)
        if own is None:
            name = stage.name.removeprefix(PREFIX)
            if name.startswith(AGAIN):
                made[stage.name] = (f"Attacked again: {name.removeprefix(AGAIN)}", "")
                continue
            known = f"Defended: {name}" if name != stage.name else name.capitalize()
            made[stage.name] = (known, "")
            continue
        alike = [other for other in defenses.values() if other.name == own.name]
        differing = [
            name
            for name in own.settings
            if any(other.settings.get(name) != own.settings[name] for other in alike)
        ]
        said = ", ".join(f"{name} {own.settings[name]}" for name in differing)
        made[stage.name] = (f"Defended: {short(own.name)}", said)
    return made


def names(stages: Sequence[Stage], defenses: Mapping[str, Defense]) -> dict[str, str]:
    """Return how a sentence calls each stage: a defense by its name and differing settings."""
    made = {}
    for stage, (_, said) in titles(stages, defenses).items():
        name = short(defenses[stage].name) if stage in defenses else stage.removeprefix(PREFIX)
        made[stage] = f"{name} ({said})" if said else name
    return made


def counts(card: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield (what, how many) of every count of a card, those within it by their path."""
    for name, value in card.items():
        told = str(name).replace("_", " ")
        if isinstance(value, bool):
            continue
        if isinstance(value, int):
            yield told, value
        elif isinstance(value, dict):
            yield from ((f"{told}: {inner}", count) for inner, count in counts(value))


def contamination(card: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the counts that say how much of the data is like evaluation prompts."""
    return [(what, many) for what, many in counts(card) if CONTAMINATION.search(what)]


def _read(directory: Path | None, stage: Stage) -> Defense:
    name = stage.name.removeprefix(PREFIX)
    if directory is None:
        return Defense(name)
    path = ((directory / stage.path).parent / "defense.json").resolve()
    if not path.is_relative_to(directory.resolve()) or not path.is_file():
        return Defense(name)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Defense(name)
    settings = found.get("settings") if isinstance(found, dict) else None
    if not isinstance(settings, dict):
        return Defense(name)
    about = {key: found[key] for key in ABOUT if isinstance(found.get(key), str) and found[key]}
    if isinstance(passes := found.get("passes"), dict) and passes:
        named = (f"{count} {str(what).replace('_', ' ')}" for what, count in passes.items())
        about["spent"] = ", ".join(named)
    return Defense(str(found.get("name", name)), masked(settings), about)

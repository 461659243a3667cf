"""Compute scores from verdicts: every measure under every condition.

Knows nothing of models.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from numbers import Real
from typing import Any, Final

from fedsafe.contracts import Exchange, Measured, Verdict, conditions, measures
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Evaluation, PluginChoice
from fedsafe.plugins import Plugin, Registry
from fedsafe.runs.scores import Display, Rate, Scores, key_of

DEFAULT = Evaluation().measures
LONGEST: Final = 32
"""Characters of a setting's text in a heading."""


def scores(
    exchanges: Sequence[Exchange],
    verdicts: Sequence[Verdict],
    chosen: Sequence[PluginChoice] = DEFAULT,
) -> Scores:
    """Return what the chosen measures found under each condition; what found nothing is left out.

    Raises:
        RunError: A measure returned something that is no measured value.
    """
    judged = list(zip(exchanges, verdicts, strict=True))
    under: dict[str, list[tuple[Exchange, Verdict]]] = {}
    for exchange, verdict in judged:
        under.setdefault(exchange.condition, []).append((exchange, verdict))
    found: dict[str, Rate] = {}
    displays: dict[str, Display] = {}
    told = choice_names(chosen, measures)
    for condition, pairs in under.items():
        for label, choice in zip(labels(chosen), chosen, strict=True):
            plugin = measures[choice.name]
            concerned = [p for p in pairs if (p[0].loss is None) != ("loss" in plugin.traits)]
            measured = plugin.configure(choice.settings)(concerned) if concerned else None
            if measured is not None:
                found[key_of(label, condition)] = rate_of(measured, choice.name)
                displays.setdefault(label, display(label, plugin, told))
    return Scores(measures=found, displays=displays)


def labels(choices: Sequence[PluginChoice]) -> list[str]:
    """Return a label of each choice: its name, and the numbers among its settings.

    ``{name: prefilled, words: 3}`` is ``prefilled:3``. Texts are left out, as they may be long or
    secret; further choices of an equal label carry ``#2`` and so on.
    """
    seen: dict[str, int] = {}
    made = []
    for choice in choices:
        numbers = [str(v) for v in choice.settings.values() if _is_number(v)]
        label = ":".join([choice.name.replace("@", "-"), *numbers])
        seen[label] = seen.get(label, 0) + 1
        made.append(label if seen[label] == 1 else f"{label}#{seen[label]}")
    return made


def choice_names(choices: Sequence[PluginChoice], registry: Registry[Any]) -> dict[str, str]:
    """Return what tells choices apart whose labels differ by a number alone, by label.

    That is the values of the settings in which they differ: ``chalk needle mirror``, ``before``.
    """
    made = labels(choices)
    found: dict[str, str] = {}
    for base in {label.partition("#")[0] for label in made if "#" in label}:
        alike = [index for index, label in enumerate(made) if label.partition("#")[0] == base]
        settings = [registry[choices[i].name].resolve(choices[i].settings) for i in alike]
        differing = [name for name in settings[0] if len({repr(s[name]) for s in settings}) > 1]
        told = [", ".join(_value(name, one[name]) for name in differing) for one in settings]
        if len(set(told)) == len(told):
            found |= {made[index]: text for index, text in zip(alike, told, strict=True)}
    return found


def with_condition_names(found: Scores, choices: Sequence[PluginChoice]) -> Scores:
    """Return scores that call conditions of equal names by the settings in which they differ."""
    named = {
        f"@{label}": Display(label=f"{label.partition('#')[0]} ({text})")
        for label, text in choice_names(choices, conditions).items()
    }
    return found.model_copy(update={"displays": {**found.displays, **named}}) if named else found


def _value(name: str, value: object) -> str:
    """Return a setting's value for a heading; a text stands for itself."""
    if not isinstance(value, str):
        return f"{name} {value}"
    return value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…"


def display(label: str, plugin: Plugin[Any], told: Mapping[str, str] | None = None) -> Display:
    """Return how a measure is shown, by what it was registered with.

    Args:
        label: Its label.
        plugin: The measure.
        told: What tells it apart from others of its name (`choice_names`).
    """
    path, _, rest = label.removeprefix(plugin.name).partition("#")
    rest = (told or {}).get(label, rest)
    short = plugin.name.rpartition(":")[2].replace("_", " ").replace("-", " ").strip()
    heading = plugin.label or short[:1].upper() + short[1:]
    beside = (path.replace(":", " ").strip(), f"({rest})" if rest else "")
    summary = plugin.summary.rstrip(".")
    return Display(
        label=" ".join(part for part in (heading, *beside) if part),
        meaning=summary[:1].lower() + summary[1:],
        better=_first(plugin.traits, ("higher", "lower")),
        group=_first(plugin.traits, ("safety", "usefulness")),
        unit="number" if "number" in plugin.traits else "share",
    )


def _first(traits: Iterable[str], wanted: Sequence[str]) -> Any:
    return next((trait for trait in wanted if trait in traits), "")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def rate_of(measured: object, name: str) -> Rate:
    """Return a measured value as a record.

    Raises:
        RunError: It is none.
    """
    if not isinstance(measured, Measured):
        raise RunError(
            f"Measure '{name}' returned a {type(measured).__name__}. It must return a "
            "fedsafe.contracts.Measured, or None where nothing concerns it."
        )
    for field in ("value", "low", "high"):
        value = getattr(measured, field)
        if value is not None and not (isinstance(value, Real) and isfinite(value)):
            raise RunError(
                f"Measure '{name}' returned {field} = {value!r}. It must be a finite number, or "
                "None where it is not known."
            )
    parts: Mapping[str, Measured] = measured.parts or {}
    return Rate(
        value=measured.value,
        n=measured.n,
        low=measured.low,
        high=measured.high,
        unknown=measured.unknown,
        parts={str(group): rate_of(part, name) for group, part in parts.items()},
    )

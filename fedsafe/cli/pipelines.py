"""``--with A+B``, ``--set A.k=v`` and ``--sweep k=v,w`` as pipelines of defenses."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from fedsafe.cli.text import settings
from fedsafe.errors import ConfigError

if TYPE_CHECKING:
    from fedsafe.experiment import PluginChoice


def pipelines_of(options: Sequence[str], chosen: dict[str, Any]) -> "list[list[PluginChoice]]":
    """Return the pipelines that are asked for, settings checked before a model is loaded.

    A setting that is missing is no matter here: the run's experiment may have it.

    Args:
        options: Values of ``--with``: names of defenses, joined by ``+``.
        chosen: Values of ``--set``: by setting, or by ``defense.setting``.

    Raises:
        ConfigError: A setting is unknown or mistyped, or does not say of which defense it is.
        PluginError: There is no such defense.
    """
    from fedsafe.app import activate
    from fedsafe.contracts import defenses
    from fedsafe.experiment import PluginChoice

    activate()
    named = [option.split("+") for option in options]
    names = list(dict.fromkeys(name for pipeline in named for name in pipeline))
    known = {name: defenses[name] for name in names}
    given: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in chosen.items():
        name, setting = _owner(key, {n: set(p.schema.model_fields) for n, p in known.items()})
        given[name][setting] = value
    for name, plugin in known.items():
        found = [(key, why) for key, why in plugin.problems(given[name]) if key in given[name]]
        if found:
            raise ConfigError("; ".join(f"--set {key}: {why}" for key, why in found))
    return [[PluginChoice(name=name, **given[name]) for name in pipeline] for pipeline in named]


def swept(
    options: Sequence[str], chosen: dict[str, Any], sweeps: dict[str, list[Any]]
) -> "list[list[PluginChoice]]":
    """Return the pipelines once for each combination of the values of some settings.

    Args:
        options: Values of ``--with``.
        chosen: Values of ``--set``.
        sweeps: Values of ``--sweep``, by setting.

    Raises:
        ConfigError: A setting is unknown or mistyped, or is also set.
        PluginError: There is no such defense.
    """
    if twice := sorted(chosen.keys() & sweeps.keys()):
        raise ConfigError(f"--sweep {twice[0]}: it is given with --set as well. Leave one out.")
    every = [dict(zip(sweeps, values, strict=True)) for values in product(*sweeps.values())]
    return [one for values in every for one in pipelines_of(options, {**chosen, **values})]


def sweeps_of(options: Sequence[str] | None) -> dict[str, list[Any]]:
    """Read ``name=value,value`` texts; values are YAML 1.2.

    Raises:
        ConfigError: A text is not of that form, or has fewer than two values.
    """
    found: dict[str, list[Any]] = {}
    for option in options or ():
        name, _, values = option.partition("=")
        try:
            listed = settings([f"{name}=[{values}]"])
        except ConfigError:
            listed = {}
        for key, many in listed.items():
            found[key] = list(many)
        if not listed or len(found[name.strip()]) < 2:
            raise ConfigError(
                f"--sweep {option}: expected a setting and two values at least, such as --sweep "
                "steps=10,20,40."
            )
    return found


def _owner(key: str, known: dict[str, set[str]]) -> tuple[str, str]:
    """Return the defense that a setting is of, and the setting's own name.

    Raises:
        ConfigError: It could be several's, or is none's.
    """
    for name in known:
        if key.startswith(f"{name}."):
            return name, key.removeprefix(f"{name}.")
    owners = list(known) if len(known) == 1 else [n for n in known if key in known[n]]
    if len(owners) == 1:
        return owners[0], key
    if owners:
        told = " or ".join(f"{name}.{key}" for name in owners)
        raise ConfigError(f"--set {key}: {len(owners)} defenses have it. Write {told}.")
    raise ConfigError(
        f"--set {key}: none of {', '.join(known)} has it. `fedsafe plugins show defense NAME` "
        "lists the settings."
    )

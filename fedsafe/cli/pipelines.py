"""``--with A+B`` and ``--set A.k=v`` of the command line as pipelines of defenses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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


def _owner(key: str, settings: dict[str, set[str]]) -> tuple[str, str]:
    """Return the defense that a setting is of, and the setting's own name.

    Raises:
        ConfigError: It could be several's, or is none's.
    """
    for name in settings:
        if key.startswith(f"{name}."):
            return name, key.removeprefix(f"{name}.")
    owners = list(settings) if len(settings) == 1 else [n for n in settings if key in settings[n]]
    if len(owners) == 1:
        return owners[0], key
    if owners:
        told = " or ".join(f"{name}.{key}" for name in owners)
        raise ConfigError(f"--set {key}: {len(owners)} defenses have it. Write {told}.")
    raise ConfigError(
        f"--set {key}: none of {', '.join(settings)} has it. `fedsafe plugins show defense NAME` "
        "lists the settings."
    )

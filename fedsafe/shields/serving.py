"""Save, load, apply and export the shield that lies beside an adapter.

Its file alone holds secret values: 0600, and named by no record.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedsafe.contracts import Complete, Sample, ShieldChoice, shields
from fedsafe.errors import ConfigError, PluginError, RunError
from fedsafe.redaction import revealed
from fedsafe.runs.checksums import verified, write_sealed

FILE: Final = "shield.json"
SLOT: Final = "{instruction}"
"""Stands for the user's text in an exported template."""


@dataclass(frozen=True)
class Exported:
    """A pure template shield as the settings of a serving engine; holds its secret in the clear.

    Attributes:
        system: System prompt; empty: none.
        instruction: The user's turn, ``{instruction}`` standing for the user's own text.
    """

    system: str
    instruction: str


def save_shield(adapter: Path, shield: ShieldChoice | None) -> Path | None:
    """Write a shield beside an adapter, 0600; None removes the one that is there.

    Args:
        adapter: Directory of the adapter.
        shield: Its shield; settings may be secret.

    Returns:
        The file, or None.

    Raises:
        ConfigError: A setting is wrong; the message names it without its value.
        PluginError: There is no such shield.
        RunError: The disk is full.
    """
    path = adapter / FILE
    if shield is None:
        path.unlink(missing_ok=True)
        return None
    settings = {name: revealed(value) for name, value in resolved(shield).items()}
    write_sealed(path, {"name": shield.name, "settings": settings})
    return path


def load_shield(adapter: Path) -> ShieldChoice | None:
    """Read the shield beside an adapter; None where there is none.

    Secret settings come as `pydantic.SecretStr`, so that no message shows them.

    Raises:
        RunError: The file is broken, or was changed since it was written.
        ConfigError: A setting is wrong; the message names it without its value.
        PluginError: There is no such shield.
    """
    path = adapter / FILE
    if not path.is_file():
        return None
    try:
        found = verified(json.loads(path.read_text(encoding="utf-8")), path)
    except ValueError:
        found = None
    name, settings = (
        (found.get("name"), found.get("settings", {})) if isinstance(found, dict) else ("", {})
    )
    if not isinstance(name, str) or not name or not isinstance(settings, dict):
        raise RunError(
            f"{path} is no shield: it must hold a JSON object with 'name', a text, and "
            "'settings', an object. Write it again by running its defense."
        )
    return ShieldChoice(name, resolved(ShieldChoice(name, settings)))


def resolved(shield: ShieldChoice) -> dict[str, object]:
    """Return all settings of a shield, defaults included, secret ones as `SecretStr`.

    Raises:
        ConfigError: A setting is wrong; the message names it without its value.
        PluginError: There is no such shield.
    """
    plugin = shields[shield.name]
    if wrong := sorted({name for name, _ in plugin.problems(shield.settings)}):
        known = ", ".join(plugin.schema.model_fields) or "none"
        raise ConfigError(
            f"Shield '{shield.name}' cannot be set up: {', '.join(wrong)} missing, unknown or of "
            f"the wrong type (values are not shown: they may be secret). Settings: {known}."
        )
    return plugin.resolve(shield.settings)


def apply_shield(
    shield: ShieldChoice,
    complete: Complete,
    samples: Sequence[Sample],
    prefills: Sequence[str],
) -> list[str]:
    """Return replies to samples with prefills, generated through a shield.

    Args:
        shield: As `load_shield` gives it.
        complete: The model's own generation.
        samples: What is asked.
        prefills: How each reply is forced to begin; empty: not at all.

    Raises:
        RunError: The shield does not give one reply a sample.
    """
    wrapped = shields[shield.name].configure(resolved(shield))
    replies = wrapped(complete, samples, prefills)
    if len(replies) != len(samples) or not all(isinstance(reply, str) for reply in replies):
        raise RunError(
            f"Shield '{shield.name}' gave {len(replies)} replies to {len(samples)} samples. It "
            "must give one text each, in order."
        )
    return list(replies)


def export_shield(shield: ShieldChoice) -> Exported:
    """Return the template that a pure template shield (trait ``template``) amounts to.

    Raises:
        PluginError: The shield does more than put text before a prompt.
    """
    if "template" not in shields[shield.name].traits:
        raise PluginError(
            f"Shield '{shield.name}' is no pure template: it needs FedSafe around the model, and "
            "cannot be exported as a prompt."
        )
    met: list[Sample] = []

    def complete(samples: Sequence[Sample], prefills: Sequence[str]) -> list[str]:
        met.extend(samples)
        return list(prefills)

    apply_shield(shield, complete, [Sample(SLOT, "")], [""])
    return Exported(met[0].system, met[0].instruction)

"""``--shield NAME[:setting=value,...]`` of the command line as choices of shields."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedsafe.cli.text import settings
from fedsafe.errors import ConfigError

if TYPE_CHECKING:
    from fedsafe.experiment import PluginChoice

BEGIN = re.compile(r":(?=[A-Za-z_]\w*=)")
"""What parts the name (perhaps ``module:object``) from its settings."""
NEXT = re.compile(r",(?=\s*[A-Za-z_]\w*=)")


def shields_of(options: Sequence[str]) -> "list[PluginChoice]":
    """Return the shields that are asked for, in the order given.

    Args:
        options: Values of ``--shield``, such as ``self-refine:passes=2,format=code``.

    Raises:
        ConfigError: A setting is unknown or mistyped, or a secret is written out.
        PluginError: There is no such shield.
    """
    from fedsafe.app import activate
    from fedsafe.contracts import shields
    from fedsafe.experiment import PluginChoice
    from fedsafe.plugins.secret_settings import literal_secrets

    if options:
        activate()
    found = []
    for option in options:
        name, *rest = BEGIN.split(option, maxsplit=1)
        chosen = settings(NEXT.split(rest[0]) if rest else ())
        plugin = shields[name]
        if written := literal_secrets(plugin.schema, chosen):
            raise ConfigError(
                f"--shield {name}: {written[0]} is a secret, and a command line is kept and seen "
                f"by others. Put it into an environment variable, and write {written[0]}=env:NAME."
            )
        plugin.resolve(chosen)
        found.append(PluginChoice(name=name, **chosen))
    return found

"""Where the Flower app lies: the checkout, or ``fedsafe/_app`` in an installed wheel.

The role packages have generic names (``clients``, ``server``, ``strategies``), so a
wheel carries them inside ``fedsafe`` and this module puts them on the path. Inside a
Flower process the app's directory is first already, and nothing changes.
"""

import importlib
import sys
from functools import cache
from pathlib import Path

from fedsafe.errors import LaunchError

ROLES = ("clients", "server", "strategies")


def app_dir() -> Path:
    """Return the directory that holds the role packages."""
    package = Path(__file__).resolve().parent
    bundled = package / "_app"
    return bundled if bundled.is_dir() else package.parent


@cache
def activate() -> Path:
    """Make the role packages importable by their bare names.

    Raises:
        LaunchError: A package of the same name from elsewhere is in the way.
    """
    home = app_dir()
    entry = str(home)
    sys.path[:] = [entry, *(path for path in sys.path if path != entry)]
    for role in ROLES:
        module = importlib.import_module(role)
        found = Path(next(iter(module.__path__))).resolve()
        if found.parent != home:
            raise LaunchError(
                f"'{role}' was imported from {found}, not from FedSafe's app in {home}: another "
                "installed package shadows it. Use a clean environment."
            )
    return home

"""Import of optional packages, with the command that installs a missing one."""

import importlib
from typing import Any

from fedsafe.errors import MissingDependencyError


def optional_package(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Its dotted name.
        extra: The extra of FedSafe that installs it.
        purpose: What it is needed for, to begin a sentence with.

    Raises:
        MissingDependencyError: It is not installed, or does not work here.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        missing = (error.name or package).partition(".")[0]
        raise MissingDependencyError(
            f"{purpose} needs the package {missing}, which is not installed or does not work here. "
            f"Install it with: pip install 'fedsafe[{extra}]'."
        ) from None

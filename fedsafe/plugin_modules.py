"""Import a plug-in by its ``module:object`` path.

Modules are found where Python finds them, then in the directories named to `search_in`
(that of the experiment's file and the current one). Those come last, so that a file of the
user's shadows no installed package. A run directory records them, so that the run goes on
from anywhere.
"""

import importlib
import importlib.machinery
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from fedsafe.errors import PluginError

VARIABLE = "FEDSAFE_PLUGIN_PATH"
"""Environment variable with the directories, which processes started from here inherit."""
RECORD = "plugin-path.json"
"""File of a run directory with those of a run whose plug-ins are named by their paths."""
BY_PATH = re.compile(r'"name": ?"[\w.]+:[\w.]+"')
_ADDED: set[str] = set()
"""Entries of Python's path that are there because of it."""


def search_in(directory: Path, *, last: bool = False) -> None:
    """Find plug-in modules in a directory too, before those named so far or after them."""
    wanted = str(directory.resolve())
    others = [entry for entry in directories() if entry != wanted]
    found = [*others, wanted] if last else [wanted, *others]
    os.environ[VARIABLE] = os.pathsep.join(found)


def search_current(run: Path | None = None) -> None:
    """Find plug-ins that a command names in the current directory too, after all others.

    Args:
        run: The run directory that the command is about. What lies in it is data, which others
            may have handed on: from inside it, the current directory is not searched.
    """
    here = Path.cwd()
    if run is None or not here.is_relative_to(run.expanduser().resolve()):
        search_in(here, last=True)


def directories() -> list[str]:
    """Return the directories that are searched beside Python's own path."""
    return [entry for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]


def recorded(experiment: str) -> str:
    """Return the text of `RECORD` for an experiment (JSON); empty where it needs none."""
    if not BY_PATH.search(experiment) or not directories():
        return ""
    return json.dumps({"directories": directories()}, indent=1) + "\n"


def search_as_recorded(run: Path) -> None:
    """Find modules where the run in a directory found them when it began.

    Nothing inside the run directory is searched: it is data, which others may have handed on.

    Raises:
        PluginError: The record cannot be read.
    """
    file = run / RECORD
    if not file.is_file():
        return
    try:
        found = [Path(entry) for entry in json.loads(file.read_bytes())["directories"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PluginError(
            f"{file}, which says where the run's plug-ins lie, cannot be read: {error}. Restore "
            'it, or write {"directories": ["/path/of/the/modules"]} into it.'
        ) from None
    inside = run.resolve()
    for place in reversed(found):
        if place.is_absolute() and place.is_dir() and not place.resolve().is_relative_to(inside):
            search_in(place)


def imported(path: str, kind: str) -> Any:
    """Return the object that a ``module:object`` path names.

    Args:
        path: The path.
        kind: Kind of plug-in, for messages.

    Raises:
        PluginError: There is no such module or object, or it cannot be called.
    """
    name, _, attribute = path.partition(":")
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        raise PluginError(
            f"{kind.capitalize()} '{path}' is of Python's standard library, which has no plug-ins. "
            "Name a module of your own."
        )
    try:
        module = _import(name, top)
    except Exception as error:  # noqa: BLE001 - the module's own, whatever it is
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(
            f"{kind.capitalize()} '{path}' was not found: {reason}. Install the package, or put "
            "the module beside the experiment's file, or into the current directory."
        ) from None
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None) if part else None
    if found is None:
        where = getattr(module, "__file__", None) or "a folder without code"
        raise PluginError(
            f"Module '{name}' ({where}) has no '{attribute}', wanted by {kind} '{path}'."
        )
    if not callable(found):
        raise PluginError(f"'{path}' is a {type(found).__name__}, not a function.")
    return found


def _import(name: str, top: str) -> Any:
    """Import a module, with the searched directories behind Python's own path.

    They stay there, for what the module imports later.
    """
    native = [entry for entry in sys.path if entry not in _ADDED]
    searched = [entry for entry in directories() if entry not in native]
    _forget_another(top, searched)
    _ADDED.update(searched)
    sys.path[:] = [*native, *searched]
    importlib.invalidate_caches()  # the file may be younger than the last look
    return importlib.import_module(name)


def _forget_another(top: str, searched: list[str]) -> None:
    """Forget a module that was loaded from one directory, where another one is meant now."""
    origin = getattr(sys.modules.get(top), "__file__", None)
    if origin is None or not any(Path(origin).is_relative_to(entry) for entry in _ADDED):
        return
    spec = importlib.machinery.PathFinder.find_spec(top, searched)
    if spec is not None and spec.origin is not None and spec.origin != origin:
        for name in [name for name in sys.modules if name.partition(".")[0] == top]:
            del sys.modules[name]

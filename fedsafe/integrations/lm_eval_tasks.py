"""Load lm-eval tasks from YAML files, directories of them, or by the names that lm-eval ships."""

from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from fedsafe.errors import ConfigError, DataError, reason_of
from fedsafe.integrations.packages import optional_package


def load_tasks(tasks: Sequence[str]) -> list[Any]:
    """Return lm-eval's task and group objects of files, directories and names.

    Raises:
        ConfigError: There is no such file, or lm-eval knows no task of that name.
        DataError: A task or its data cannot be read.
        MissingDependencyError: The package lm_eval is not installed.
    """
    found: list[Any] = []
    for given in tasks:
        path = Path(given).expanduser()
        if path.exists():
            found += _tasks_of(path.resolve())
        elif path.suffix in {".yaml", ".yml"} or "/" in given:
            raise ConfigError(f"--tasks {given}: there is no such file or directory.")
        else:
            found += _loaded(task_manager(defaults=True), [given], given, Path.cwd())
    return found


def _tasks_of(path: Path) -> list[Any]:
    if path.is_file():
        return _loaded(task_manager(), [str(path)], str(path), path.parent)
    manager = task_manager(path)
    names = manager.all_groups or manager.all_subtasks
    if not names:
        raise ConfigError(f"--tasks {path}: no YAML file in it names a task.")
    return _loaded(manager, names, str(path), path)


def task_manager(include: Path | None = None, *, defaults: bool = False) -> Any:
    """Return lm-eval's task manager, which knows the tasks below a directory or its own."""
    kind = optional_package("lm_eval.tasks", extra="lm-eval", purpose="lm-eval").TaskManager
    return kind(include_path=None if include is None else str(include), include_defaults=defaults)


def _loaded(manager: Any, specs: Sequence[str], given: str, home: Path) -> list[Any]:
    """Load tasks from beside their file, else from here, for the data files that they name.

    Raises:
        ConfigError: lm-eval knows no task of that name.
        DataError: A task or its data cannot be read.
    """
    for place in (home, Path.cwd()):
        try:
            with chdir(place):
                found = manager.load(list(specs))
        except FileNotFoundError as error:
            failure: Exception = error
        except KeyError:
            raise ConfigError(
                f"--tasks {given}: lm-eval knows no task of that name, and there is no such file."
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever a task's YAML brings about
            failure = error
            break
        else:
            inner = {name for names in found["group_map"].values() for name in names}
            named = {**found["groups"], **found["tasks"]}
            return [one for name, one in named.items() if name not in inner]
    raise DataError(
        f"--tasks {given} cannot be loaded: {type(failure).__name__}: {reason_of(failure, 300)}."
    )

"""Checks of run directories given to commands: existing, finished, safe to remove."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from fedsafe.cli.text import shown
from fedsafe.errors import RunError
from fedsafe.runs.layout import RunFile

if TYPE_CHECKING:
    from fedsafe.experiment import Experiment
    from fedsafe.runs.records import Summary
    from fedsafe.runs.store import Store


def existing(directory: Path) -> Path:
    """Return a run directory, checked to be one.

    Raises:
        RunError: It is not.
    """
    if (directory / RunFile.EXPERIMENT).is_file():
        return directory
    from fedsafe.runs.store import Store

    if directory.is_dir() and Store(directory).vacant:
        raise RunError(
            f"{shown(directory)} is no run directory: no run has begun in it. Give the command "
            "again that was to start one, such as `fedsafe run`."
        )
    what = "has no experiment.yaml" if directory.is_dir() else "does not exist"
    raise RunError(
        f"{shown(directory)} is no run directory: it {what}. Give the directory that "
        "`fedsafe run` printed."
    )


def finished(directory: Path, experiment: "Experiment") -> "Summary | None":
    """Return the summary of a completed run of this experiment; None where all is to do.

    All is to do, too, in a directory whose run was stopped before it did anything.

    Raises:
        RunError: The directory holds something else, or the run is unfinished.
    """
    from fedsafe.experiment.load import as_yaml
    from fedsafe.runs.store import Store

    if directory.exists() and not directory.is_dir():
        raise RunError(f"{shown(directory)} is a file. Choose another directory with -o.")
    store = Store(directory)
    if store.vacant:
        return None
    known = directory / RunFile.EXPERIMENT
    if not known.is_file():
        raise RunError(
            f"{shown(directory)} is not empty and holds no run. Choose another directory with -o."
        )
    if known.read_text(encoding="utf-8") != as_yaml(experiment):
        raise RunError(
            f"{shown(directory)} holds another experiment. Choose another directory with -o, or "
            "replace it with --overwrite."
        )
    summary = store.summary()
    if summary is not None and summary.status == "completed":
        return summary
    if not _begun(store) and not (summary and summary.stages):
        return None
    raise RunError(
        f"{shown(directory)} holds an unfinished run of this experiment. Go on with "
        f"`fedsafe resume {shown(directory)}`, or start anew with --overwrite."
    )


def _begun(store: "Store") -> bool:
    """Return whether a run has anything to resume."""
    return (store.directory / RunFile.BASE_ADAPTER).exists() or any(
        federation.rounds() or federation.checkpoints() for federation in (store, store.control)
    )


def clear(directory: Path) -> None:
    """Remove a run directory that nobody writes to; anything else is left alone.

    Raises:
        RunError: It is no run directory, or is in use.
    """
    from fedsafe.runs.store import Store

    store = Store(directory)
    if store.vacant:
        return
    if not (directory / RunFile.EXPERIMENT).is_file():
        raise RunError(
            f"{shown(directory)} holds no run, so --overwrite leaves it alone. Choose another "
            "directory with -o."
        )
    with store.lock():
        shutil.rmtree(directory)

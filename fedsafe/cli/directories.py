"""What lies in the directory that a command was given.

Knows nothing of how a run is made.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from fedsafe.cli.text import shown
from fedsafe.errors import RunError

if TYPE_CHECKING:
    from fedsafe.experiment import Experiment
    from fedsafe.runs.records import Summary


def existing(directory: Path) -> Path:
    """Return a run directory, having looked that it is one.

    Raises:
        RunError: It is not.
    """
    if (directory / "experiment.yaml").is_file():
        return directory
    what = "has no experiment.yaml" if directory.is_dir() else "does not exist"
    raise RunError(
        f"{shown(directory)} is no run directory: it {what}. Give the directory that "
        "`fedsafe run` printed."
    )


def finished(directory: Path, experiment: "Experiment") -> "Summary | None":
    """Return the summary of a completed run of this experiment; None where all is to do.

    Raises:
        RunError: The directory holds something else, or the run is unfinished.
    """
    from fedsafe.experiment.load import as_yaml
    from fedsafe.runs.store import Store

    if directory.exists() and not directory.is_dir():
        raise RunError(f"{shown(directory)} is a file. Choose another directory with -o.")
    if not directory.is_dir() or not any(directory.iterdir()):
        return None
    known = directory / "experiment.yaml"
    if not known.is_file():
        raise RunError(
            f"{shown(directory)} is not empty and holds no run. Choose another directory with -o."
        )
    if known.read_text(encoding="utf-8") != as_yaml(experiment):
        raise RunError(
            f"{shown(directory)} holds another experiment. Choose another directory with -o, or "
            "replace it with --overwrite."
        )
    summary = Store(directory).summary()
    if summary is not None and summary.status == "completed":
        return summary
    raise RunError(
        f"{shown(directory)} holds an unfinished run of this experiment. Go on with "
        f"`fedsafe resume {shown(directory)}`, or start anew with --overwrite."
    )


def clear(directory: Path) -> None:
    """Remove a run directory that nobody writes to; anything else is left alone.

    Raises:
        RunError: It is no run directory, or is in use.
    """
    if not directory.exists():
        return
    if directory.is_dir() and not any(directory.iterdir()):
        return
    if not (directory / "experiment.yaml").is_file():
        raise RunError(
            f"{shown(directory)} holds no run, so --overwrite leaves it alone. Choose another "
            "directory with -o."
        )
    from fedsafe.runs.store import Store

    with Store(directory).lock():
        shutil.rmtree(directory)

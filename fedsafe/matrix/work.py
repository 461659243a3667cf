"""One task of a matrix, done in whichever process it is given to: a stage, or a cell's run."""

import os
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsafe.errors import FedSafeError
from fedsafe.runs.matrix_records import SAMPLES, STAGES

if TYPE_CHECKING:
    from fedsafe.pipeline.stage_store import StageStore

PATIENCE = 120.0
"""Seconds to wait for a process that is about to end and still writes the same stage."""
MADE_SAMPLES = "FEDSAFE_MADE_SAMPLES"


@dataclass(frozen=True)
class Task:
    """What a process is asked to do; plain values, so that it travels anywhere.

    Attributes:
        id: Of the stage or cell.
        root: The matrix directory, which every process reaches by this path.
        directory: The run directory to fill.
        experiment: Values of the experiment to run in it.
        until: Name of the stage to stop after; empty: run all.
        stage: Whether it makes a stage, whose directory is removed when it is done; else it is
            a cell's run, of finished stages.
        modules: Directories that plug-ins are found in.
        results: Address at which finished stages are kept as well; empty: in the directory alone.
    """

    id: str
    root: str
    directory: str
    experiment: dict[str, Any]
    until: str = ""
    stage: bool = True
    modules: Sequence[str] = ()
    results: str = ""


@dataclass(frozen=True)
class Result:
    """How a task ended."""

    done: bool
    reason: str = ""
    seconds: float = 0.0
    worker: str = ""
    cpu: float = 0.0


def do(task: Task) -> Result:
    """Do a task; what fails is told as a sentence.

    A stage that was begun before, by a process that is gone, goes on from its last round.
    """
    begun, cpu = time.perf_counter(), time.process_time()
    os.environ[MADE_SAMPLES] = str(Path(task.root) / SAMPLES)
    reason = ""
    try:
        reason = _run(task)
    except FedSafeError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - a mistake in somebody's plug-in, too
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if task.stage and not reason:
        shutil.rmtree(task.directory, ignore_errors=True)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return Result(not reason, reason, seconds, f"{socket.gethostname()}:{os.getpid()}", cpu)


def _run(task: Task) -> str:
    """Run a task's experiment; return why it failed, or an empty text."""
    from fedsafe.app import activate
    from fedsafe.experiment.load import validate
    from fedsafe.launch import inline
    from fedsafe.plugin_modules import search_in
    from fedsafe.report import write
    from fedsafe.runs.store import Store

    for place in reversed(task.modules):
        search_in(Path(place))
    activate()
    directory = Path(task.directory)
    with Store(directory).lock(patience=PATIENCE):
        pass  # a process that lost its parent or its machine has let go
    experiment = validate(task.experiment)
    summary = inline.run(experiment, directory, shared=_stages(task), until=task.until)
    if not task.stage:
        write(directory)
    return summary.reason or "it failed." if summary.status == "failed" else ""


def _stages(task: Task) -> "Path | StageStore":
    """Return where a task finds finished stages, and leaves its own."""
    home = Path(task.root) / STAGES
    if not task.results:
        return home
    from fedsafe.matrix.remote_stages import RemoteStages

    return RemoteStages(task.results, home)

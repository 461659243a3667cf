"""Find the runs below a directory, with state, stages, size and age; remove one safely.

Reads records alone; a run whose experiment cannot be checked any more is listed too.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import yaml
from pydantic import Field

from fedsafe.errors import RunError
from fedsafe.runs.layout import RunFile, is_run_file
from fedsafe.runs.records import Record, Stage, Summary
from fedsafe.runs.seed_records import FILE, PAGE
from fedsafe.runs.store import Store

DEPTH = 3
"""Directories below the one that is searched."""
SIGNS = (RunFile.SUMMARY, RunFile.PROVENANCE, RunFile.EVENTS, RunFile.ROUNDS)
"""One of these lies beside the experiment once a run has begun."""


class FoundRun(Record):
    """A run as its directory tells it."""

    directory: str
    state: str
    """running, completed, failed, interrupted, or stopped: killed without a word."""
    reason: str = ""
    experiment: str = ""
    """Name of the experiment; empty where its file is broken."""
    seed: int | None = None
    stages: list[Stage] = Field(default_factory=list)
    problem: str = ""
    """Why its records cannot be read."""
    bytes: int = 0
    """Size of its files."""
    changed: float = 0.0
    """When it last wrote something, seconds since the epoch."""


def is_run(directory: Path) -> bool:
    """Tell whether a run has begun in a directory."""
    return (directory / RunFile.EXPERIMENT).is_file() and any(
        (directory / name).is_file() for name in SIGNS
    )


def is_running(directory: Path) -> bool:
    """Tell whether a process holds a run's directory, or its server does."""
    return is_locked(directory / ".lock") or is_locked(directory / ".server" / "lock")


def is_locked(path: Path) -> bool:
    """Tell whether a process holds a lock file; the file is not changed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def find_runs(directory: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Yield the runs in a directory and below it, by name; links are not followed.

    Raises:
        RunError: It is no directory.
    """
    if not directory.is_dir():
        raise RunError(f"{directory} is no directory. Name one that holds runs, such as runs.")
    if is_run(directory):
        yield directory
    elif depth:
        for inner in sorted(_inside(directory)):
            yield from find_runs(inner, depth - 1)


def _inside(directory: Path) -> list[Path]:
    try:
        return [
            one
            for one in directory.iterdir()
            if one.is_dir() and not one.is_symlink() and not one.name.startswith(".")
        ]
    except PermissionError:
        return []


def look(directory: Path) -> FoundRun:
    """Return what a run's directory tells; broken records are named, not raised."""
    running, problem, summary = is_running(directory), "", None
    try:
        summary = Store(directory).summary()
    except RunError as error:
        problem = str(error)
    name, seed = _experiment(directory)
    size, changed = _size(directory)
    return FoundRun(
        directory=str(directory),
        state=_state(summary, running=running),
        reason="" if summary is None else summary.reason,
        experiment=name,
        seed=seed,
        stages=[] if summary is None else summary.stages,
        problem=problem,
        bytes=size,
        changed=changed,
    )


def _state(summary: Summary | None, *, running: bool) -> str:
    if running:
        return "running"
    if summary is None or summary.status == "running":
        return "stopped"
    return summary.status


def _experiment(directory: Path) -> tuple[str, int | None]:
    """Return an experiment's name and seed, unchecked: its plug-ins may be gone."""
    try:
        values = yaml.safe_load((directory / RunFile.EXPERIMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return "", None
    if not isinstance(values, dict):
        return "", None
    seed = values.get("seed")
    return str(values.get("name", "")), seed if isinstance(seed, int) else None


def _size(directory: Path) -> tuple[int, float]:
    """Return the bytes of a directory's files, and when the newest was written."""
    size, newest = 0, 0.0
    for path in directory.rglob("*"):
        with suppress(OSError):  # a run that is going on takes files away
            found = path.lstat()
            size += found.st_size
            newest = max(newest, found.st_mtime)
    return size, newest or time.time()


def removable(directory: Path) -> list[Path]:
    """Return the runs that go with a directory: itself, or those of its seeds.

    Raises:
        RunError: It is no run nor an experiment's seeds, is running, or holds what no run writes.
    """
    if directory.is_symlink():
        raise RunError(f"{directory} is a link, and is left alone. Name the directory itself.")
    if is_run(directory):
        runs, foreign = [directory], _foreign(directory)
    elif (directory / FILE).is_file():
        inside = [one for one in directory.iterdir() if not one.name.startswith(".")]
        runs = [one for one in inside if one.name.startswith("seed-") and is_run(one)]
        foreign = [one.name for one in inside if one not in runs and one.name not in {FILE, PAGE}]
        foreign += [f"{run.name}/{name}" for run in runs for name in _foreign(run)]
    else:
        what = "holds no run" if directory.is_dir() else "does not exist"
        raise RunError(f"{directory} {what}, so nothing is removed. See `fedsafe runs list`.")
    if foreign:
        raise RunError(
            f"{directory} holds what no run writes: {', '.join(sorted(foreign)[:5])}. Move it "
            "away, then remove the run."
        )
    for run in runs:
        if is_running(run):
            raise RunError(f"{run} is running, and is left alone. Stop it first.")
    return runs


def _foreign(directory: Path) -> list[str]:
    return [one.name for one in directory.iterdir() if not is_run_file(one.name)]


def remove(directory: Path) -> None:
    """Remove a run, or an experiment's runs with several seeds; nothing else.

    Raises:
        RunError: As `removable`; or a process began to write to it.
    """
    for run in removable(directory):
        with Store(run).lock():
            shutil.rmtree(run)
    if directory.exists():  # what is left of several seeds: their aggregate
        shutil.rmtree(directory)

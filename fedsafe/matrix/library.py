"""Matrices from Python: run one, read one as pandas frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedsafe.app import activate
from fedsafe.matrix.definition import Definition, parse, read
from fedsafe.matrix.directory import default_directory, prepare
from fedsafe.matrix.pools import Here, Pool, Processes
from fedsafe.matrix.publish import publish
from fedsafe.matrix.ray_pool import RayPool
from fedsafe.matrix.results import MatrixFrames, Results
from fedsafe.matrix.running import Tell
from fedsafe.matrix.running import run as run_in
from fedsafe.matrix.searching import run_search
from fedsafe.runs.search_records import SearchRecord


def run_matrix(
    matrix: str | Path | Mapping[str, Any],
    directory: str | Path | None = None,
    *,
    workers: int = 1,
    gpus: Sequence[int] = (),
    ray: str = "",
    results: str = "",
    changes: Mapping[str, Any] | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
    tell: Tell = lambda kind, facts: None,
) -> MatrixFrames:
    """Run a matrix, or what is left of it, and return its frames.

    Args:
        matrix: A file, a preset's name, or the values themselves.
        directory: Where to; None: ``runs/<name>-matrix`` in the current directory.
        workers: Processes; with more than one, call it under ``if __name__ == "__main__":``.
        gpus: Numbers of the GPUs that are dealt out to the processes.
        ray: Address of a Ray cluster; empty: none.
        results: Address through which the cluster's machines hand stages on, such as
            ``s3://bucket/study``; empty: the directory, which they share.
        changes: Settings of every cell, by dotted path.
        only: Labels to keep, by axis.
        tell: Called with ``begin`` or ``end`` and the facts of each stage and cell.

    Raises:
        ConfigError: The matrix is wrong.
        RunError: The directory holds something else. A cell that failed is no error: its status
            and reason are in ``cells``.
    """
    activate()
    home = None if directory is None else Path(directory)
    prepared = prepare(_definition(matrix), home, changes, only)
    prepared.check()
    run_in(prepared, _pool(workers, gpus, ray, results), tell)
    publish(prepared.directory)
    return read_matrix(prepared.directory)


def search_matrix(
    matrix: str | Path | Mapping[str, Any],
    directory: str | Path | None = None,
    *,
    workers: int = 1,
    gpus: Sequence[int] = (),
    ray: str = "",
    results: str = "",
    tell: Tell = lambda kind, facts: None,
) -> SearchRecord:
    """Search for an attack's worst setting, or go on with it, and return search.json.

    Args:
        matrix: A file with ``search:``, a preset's name, or the values themselves.
        directory: Where to; None: ``runs/<name>-matrix`` in the current directory.
        workers: As of `run_matrix`.
        gpus: As of `run_matrix`.
        ray: As of `run_matrix`.
        results: As of `run_matrix`.
        tell: As of `run_matrix`; also called with ``search`` as further settings are chosen.

    Raises:
        ConfigError: The matrix is wrong.
        RunError: The directory holds something else.
    """
    activate()
    definition = _definition(matrix)
    home = default_directory(definition) if directory is None else Path(directory)
    record = run_search(definition, home, _pool(workers, gpus, ray, results), tell)
    publish(home)
    return record


def _definition(matrix: str | Path | Mapping[str, Any]) -> Definition:
    return parse(matrix, Path.cwd()) if isinstance(matrix, Mapping) else read(matrix)


def _pool(workers: int, gpus: Sequence[int], ray: str, results: str) -> Pool:
    if ray:
        return RayPool(ray, results=results)
    if workers > 1 or gpus:
        return Processes(workers, [str(number) for number in gpus])
    return Here()


def read_matrix(directory: str | Path) -> MatrixFrames:
    """Return a matrix directory as pandas frames, however far it has come.

    Raises:
        RunError: It is no matrix directory, or one of its files is broken.
    """
    activate()
    return Results(Path(directory)).frames()

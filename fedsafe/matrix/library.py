"""Matrices from Python: run one, read one as pandas frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedsafe.app import activate
from fedsafe.matrix.definition import parse, read
from fedsafe.matrix.directory import prepare
from fedsafe.matrix.pools import Here, Pool, Processes
from fedsafe.matrix.publish import publish
from fedsafe.matrix.ray_pool import RayPool
from fedsafe.matrix.results import MatrixFrames, Results
from fedsafe.matrix.running import Tell
from fedsafe.matrix.running import run as run_in


def run_matrix(
    matrix: str | Path | Mapping[str, Any],
    directory: str | Path | None = None,
    *,
    workers: int = 1,
    gpus: Sequence[int] = (),
    ray: str = "",
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
        changes: Settings of every cell, by dotted path.
        only: Labels to keep, by axis.
        tell: Called with ``begin`` or ``end`` and the facts of each stage and cell.

    Raises:
        ConfigError: The matrix is wrong.
        RunError: The directory holds something else. A cell that failed is no error: its status
            and reason are in ``cells``.
    """
    activate()
    given = isinstance(matrix, Mapping)
    definition = parse(matrix, Path.cwd()) if given else read(matrix)  # type: ignore[arg-type]
    home = None if directory is None else Path(directory)
    prepared = prepare(definition, home, changes, only)
    prepared.check()
    pool: Pool
    if ray:
        pool = RayPool(ray)
    elif workers > 1 or gpus:
        pool = Processes(workers, [str(number) for number in gpus])
    else:
        pool = Here()
    run_in(prepared, pool, tell)
    publish(prepared.directory)
    return read_matrix(prepared.directory)


def read_matrix(directory: str | Path) -> MatrixFrames:
    """Return a matrix directory as pandas frames, however far it has come.

    Raises:
        RunError: It is no matrix directory, or one of its files is broken.
    """
    activate()
    return Results(Path(directory)).frames()

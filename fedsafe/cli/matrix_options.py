"""Options that the commands of ``fedsafe matrix`` share, and what they stand for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsafe.errors import ConfigError

if TYPE_CHECKING:
    from fedsafe.matrix.pools import Pool

File = Annotated[str, typer.Argument(metavar="FILE", help="A matrix file, or a preset's name.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A matrix directory.")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DIR", help="Default: runs/NAME-matrix.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=c", help="Change a setting of every cell; repeatable."),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="AXIS=A,B", help="Values of an axis to keep; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Workers = Annotated[
    int, typer.Option(min=1, max=256, help="Processes, each with its share of the cores.")
]
Gpus = Annotated[str, typer.Option(metavar="0,1", help="GPUs, dealt out to the processes in turn.")]
Ray = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Submit stages to this Ray cluster; or auto.")
]
CpusPerStage = Annotated[float, typer.Option(min=0.0, help="With --ray: CPUs that a stage holds.")]
GpusPerStage = Annotated[float, typer.Option(min=0.0, help="With --ray: GPUs that a stage holds.")]
Results = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="With --ray: hand stages on through this address, such as s3://bucket/study.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="AXIS=A,B", help="Values to keep; repeatable."),
]


def pool_of(
    workers: int, gpus: str, ray: str, cpus: float, gpus_per_stage: float, results: str = ""
) -> "Pool":
    """Return where stages run.

    Raises:
        ConfigError: The options say different things, or name no GPUs.
    """
    from fedsafe.matrix.pools import Here, Processes

    if ray:
        from fedsafe.matrix.ray_pool import RayPool

        if gpus or workers > 1:
            raise ConfigError("Give --ray, or --workers and --gpus; not both.")
        return RayPool(ray, cpus, gpus_per_stage, results)
    if results:
        raise ConfigError("--results is for the machines of a Ray cluster. Give it with --ray.")
    named = names_of(gpus)
    if any(not name.isdecimal() for name in named):
        raise ConfigError(f"--gpus: {gpus!r} are no GPU numbers. Write them as 0,1.")
    return Here() if workers == 1 and not named else Processes(workers, named)


def names_of(text: str) -> list[str]:
    """Return what a text with commas lists."""
    return [part.strip() for part in text.split(",") if part.strip()]


def labels_of(given: Sequence[str] | None) -> dict[str, Any]:
    """Return the labels that ``AXIS=A,B`` texts keep, by axis.

    Raises:
        ConfigError: One is no such text.
    """
    found = {}
    for one in given or ():
        axis, equals, labels = one.partition("=")
        if not equals:
            raise ConfigError(f"{one!r}: write it as AXIS=A,B, such as seed=0.")
        found[axis.strip()] = names_of(labels)
    return found

"""``fedsafe matrix``: run, show and tabulate experiments over axes of settings."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsafe.cli.text import Interrupted, settings

if TYPE_CHECKING:
    from fedsafe.matrix.directory import Matrix
    from fedsafe.matrix.pools import Pool

app = typer.Typer(
    help="Run an experiment over axes of settings; what cells share is done once.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
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


@app.command(epilog="Example: fedsafe matrix run my.yaml --workers 2 -o runs/my-matrix")
def run(  # noqa: PLR0917 - each is an option of the command line
    file: File,
    output: Output = None,
    changes: Changes = None,
    only: Only = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes, each with its share of the cores.")
    ] = 1,
    gpus: Annotated[
        str, typer.Option(metavar="0,1", help="GPUs, dealt out to the processes in turn.")
    ] = "",
    ray: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Submit stages to this Ray cluster; or auto.")
    ] = "",
    cpus_per_stage: Annotated[
        float, typer.Option(min=0.0, help="With --ray: CPUs that a stage holds.")
    ] = 1.0,
    gpus_per_stage: Annotated[
        float, typer.Option(min=0.0, help="With --ray: GPUs that a stage holds.")
    ] = 0.0,
    as_json: Json = False,
) -> None:
    """Run every cell of a matrix, or what is left of it.

    The same command goes on after a crash or Ctrl-C, and tries what failed again.
    """
    from fedsafe.cli import matrix_display
    from fedsafe.matrix.publish import publish
    from fedsafe.matrix.running import run as run_matrix

    matrix = _matrix(file, output, changes, only)
    matrix.check()
    given = (ray, cpus_per_stage, gpus_per_stage)
    try:
        with matrix_display.progress(as_json=as_json) as tell:
            record = run_matrix(matrix, _pool(workers, gpus, *given), tell)
    except KeyboardInterrupt:
        raise Interrupted("what is done is kept. Go on with the same command.") from None
    page = publish(matrix.directory)
    if as_json:
        told = {**record.plain(), "directory": str(matrix.directory), "report": str(page)}
        typer.echo(json.dumps({"kind": "matrix", **told}))
    else:
        matrix_display.summary(matrix.directory, record, page)
    if record.status == "failed":
        raise typer.Exit(1)


@app.command(epilog="Example: fedsafe matrix show reference-study")
def show(
    file: File,
    output: Output = None,
    changes: Changes = None,
    only: Only = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that the time is told for.")] = 1,
    every: Annotated[bool, typer.Option("--stages", help="List every stage.")] = False,
    as_json: Json = False,
) -> None:
    """Show the plan of a matrix: cells, stages, what is shared, time and disk.

    The estimate is measured on the model, and on the stages that ran already, if any did.
    """
    from fedsafe.cli import matrix_display
    from fedsafe.errors import FedSafeError
    from fedsafe.matrix.estimate import estimate

    matrix = _matrix(file, output, changes, only)
    matrix.check()
    plan, ended = matrix.plan, matrix.ended()
    there = matrix.directory if matrix.directory.is_dir() else None
    found, why = None, ""
    try:
        found = estimate(plan, matrix.speeds(), ended, there)
    except FedSafeError as error:
        why = str(error)
    if as_json:
        typer.echo(json.dumps(matrix_display.plan_values(matrix, found, why)))
    else:
        matrix_display.plan(matrix, found, why, workers=workers, every=every)


@app.command(
    epilog="Example: fedsafe matrix table runs/my --rows federation.strategy --where seed=0"
)
def table(  # noqa: PLR0917 - each is an option of the command line
    directory: Directory,
    rows: Annotated[str, typer.Option(metavar="AXIS,AXIS", help="Axes of the rows.")] = "",
    columns: Annotated[str, typer.Option(metavar="AXIS,AXIS", help="Axes of the columns.")] = "",
    measure: Annotated[
        str, typer.Option(metavar="NAME", help="Such as unsafe, new-skill, unsafe@prefilled.")
    ] = "",
    stage: Annotated[
        str, typer.Option(metavar="NAME", help="final (default), base, clean, attacked, ...")
    ] = "",
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="AXIS=A,B", help="Values to keep; repeatable."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write every cell's stages.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show one measure of a matrix, rows by columns: mean over seeds with a 95 % interval."""
    from fedsafe.cli import matrix_display
    from fedsafe.matrix.results import Results

    results = Results(directory)
    chosen = _labels(where) if where else None
    found = results.table(_names(rows), _names(columns), measure, stage, chosen)
    if csv is not None:
        results.write_csv(csv)
    if as_json:
        typer.echo(json.dumps(found.plain()))
    else:
        matrix_display.table(found)


@app.command("list")
def list_presets(as_json: Json = False) -> None:
    """List the matrix presets, a line each."""
    from fedsafe.matrix.definition import presets

    if as_json:
        typer.echo(json.dumps(presets()))
        return
    from fedsafe.cli.tables import pairs

    pairs(presets().items())


@app.command(epilog="Copy and edit: fedsafe matrix preset reference-study > my.yaml")
def preset(name: Annotated[str, typer.Argument(help="A name from `fedsafe matrix list`.")]) -> None:
    """Print a matrix preset with its comments."""
    from fedsafe.matrix.definition import read

    typer.echo(read(name).text, nl=False)


def _matrix(
    file: str, output: Path | None, changes: list[str] | None, only: list[str] | None
) -> "Matrix":
    """Return the matrix of a file, checked, with its plan and its directory."""
    from fedsafe.app import activate
    from fedsafe.matrix.definition import read
    from fedsafe.matrix.directory import prepare

    activate()
    return prepare(read(file), output, settings(changes), _labels(only))


def _pool(workers: int, gpus: str, ray: str, cpus: float, gpus_per_stage: float) -> "Pool":
    from fedsafe.errors import ConfigError
    from fedsafe.matrix.pools import Here, Processes

    if ray:
        from fedsafe.matrix.ray_pool import RayPool

        if gpus or workers > 1:
            raise ConfigError("Give --ray, or --workers and --gpus; not both.")
        return RayPool(ray, cpus, gpus_per_stage)
    named = _names(gpus)
    if any(not name.isdecimal() for name in named):
        raise ConfigError(f"--gpus: {gpus!r} are no GPU numbers. Write them as 0,1.")
    return Here() if workers == 1 and not named else Processes(workers, named)


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _labels(given: list[str] | None) -> dict[str, Any]:
    """Return the labels that ``AXIS=A,B`` texts keep, by axis."""
    from fedsafe.errors import ConfigError

    found = {}
    for one in given or ():
        axis, equals, labels = one.partition("=")
        if not equals:
            raise ConfigError(f"{one!r}: write it as AXIS=A,B, such as seed=0.")
        found[axis.strip()] = _names(labels)
    return found

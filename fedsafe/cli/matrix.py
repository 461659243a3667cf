"""``fedsafe matrix``: run, show and tabulate experiments over axes of settings."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsafe.cli.matrix_compare import compare
from fedsafe.cli.matrix_options import (
    Changes,
    CpusPerStage,
    Directory,
    File,
    Gpus,
    GpusPerStage,
    Json,
    Only,
    Output,
    Ray,
    Results,
    Where,
    Workers,
    labels_of,
    names_of,
    pool_of,
)
from fedsafe.cli.matrix_search import search
from fedsafe.cli.text import Interrupted, settings

if TYPE_CHECKING:
    from fedsafe.matrix.directory import Matrix

app = typer.Typer(
    help="Run an experiment over axes of settings; what cells share is done once.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMPARED = "federation.strategy=fedavg federation.strategy=krum --where attack=attack"
app.command(epilog="Example: fedsafe matrix search worst-case --workers 2")(search)
app.command(epilog=f"Example: fedsafe matrix compare DIR {COMPARED}")(compare)


@app.command(epilog="Example: fedsafe matrix run my.yaml --workers 2 -o runs/my-matrix")
def run(  # noqa: PLR0917 - each is an option of the command line
    file: File,
    output: Output = None,
    changes: Changes = None,
    only: Only = None,
    workers: Workers = 1,
    gpus: Gpus = "",
    ray: Ray = "",
    cpus_per_stage: CpusPerStage = 1.0,
    gpus_per_stage: GpusPerStage = 0.0,
    results: Results = "",
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
    given = (ray, cpus_per_stage, gpus_per_stage, results)
    try:
        with matrix_display.progress(as_json=as_json) as tell:
            record = run_matrix(matrix, pool_of(workers, gpus, *given), tell)
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

    matrix = _matrix(file, output, changes, only, searched=True)
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
    where: Where = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write every cell's stages.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show one measure of a matrix, rows by columns: mean over seeds with a 95 % interval."""
    from fedsafe.cli import matrix_display
    from fedsafe.matrix.results import Results

    results = Results(directory)
    chosen = labels_of(where) if where else None
    found = results.table(names_of(rows), names_of(columns), measure, stage, chosen)
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
    file: str,
    output: Path | None,
    changes: list[str] | None,
    only: list[str] | None,
    *,
    searched: bool = False,
) -> "Matrix":
    """Return the matrix of a file, checked, with its plan and its directory.

    Where searches are taken, the plan of one has settings in the place of those it will choose.
    """
    from fedsafe.app import activate
    from fedsafe.matrix.definition import read
    from fedsafe.matrix.directory import default_directory, narrowed, prepare
    from fedsafe.matrix.searching import planned

    activate()
    definition = read(file)
    if definition.search is None or not searched:
        return prepare(definition, output, settings(changes), labels_of(only))
    cut = narrowed(definition, settings(changes), labels_of(only))
    return planned(cut, output or default_directory(cut))

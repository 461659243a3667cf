"""``fedsafe config``: presets to copy, files to check before anything heavy starts."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedsafe.cli.text import safe

app = typer.Typer(
    help="Look at presets, check an experiment file.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("list")
def list_presets(as_json: Json = False) -> None:
    """List the presets, a line each."""
    from fedsafe.experiment import presets

    names = presets()
    if as_json:
        typer.echo(json.dumps(names))
        return
    from fedsafe.cli.tables import console, pairs

    pairs((name, headline) for name, headline in names.items())
    console().print("\n[dim]fedsafe config show PRESET > my.yaml   copies one to edit[/dim]")


@app.command(epilog="Copy and edit: fedsafe config show micro > my.yaml")
def show(preset: Annotated[str, typer.Argument(help="A name from `fedsafe config list`.")]) -> None:
    """Print a preset with its comments."""
    from fedsafe.experiment import read_preset

    typer.echo(read_preset(preset), nl=False)


@app.command()
def validate(
    file: Annotated[
        str, typer.Argument(help="A YAML file, - for standard input, a preset or a run directory.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Change a setting first; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check an experiment and its files: every problem at once, each with its path and remedy.

    Data files, their first rows, local models and memory are looked at; nothing is fetched.
    """
    from fedsafe.app import activate
    from fedsafe.experiment import load
    from fedsafe.launch import preflight
    from fedsafe.runs.store import default_directory

    activate()
    experiment = load(file, changes or (), preflight.look)
    directory = default_directory(experiment)
    device, count = preflight.memory(experiment)
    unchecked = preflight.unchecked(experiment)
    if as_json:
        record = {"valid": True, "name": experiment.name, "directory": str(directory)}
        memory = {"memory": {device: count}} if count else {}
        typer.echo(json.dumps({**record, **memory, "unchecked": unchecked}))
        return
    from fedsafe.cli.tables import console

    what = "standard input" if file == "-" else safe(Path(file).name)
    console().print(f"[green]{what} is valid.[/green] It would run in {safe(directory)}.")
    if count:
        console().print(f"A process that trains takes up to {count / 2**30:.1f} GiB on {device}.")
    for one in unchecked:
        console().print(f"[yellow]Not checked:[/yellow] {safe(one)}.")

"""``fedsafe config``: presets to copy, files to check before anything heavy starts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsafe.cli.text import safe

if TYPE_CHECKING:
    from fedsafe.experiment import Experiment

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

    found = presets()
    if as_json:
        typer.echo(json.dumps(found))
        return
    from fedsafe.cli.tables import console, pairs

    pairs((name, headline) for name, headline in found.items())
    console().print("\n[dim]fedsafe config show PRESET > my.yaml   copies one to edit[/dim]")


@app.command(epilog="Copy and edit: fedsafe config show micro > my.yaml")
def show(preset: Annotated[str, typer.Argument(help="A name from `fedsafe config list`.")]) -> None:
    """Print a preset with its comments."""
    from fedsafe.experiment import read_preset

    typer.echo(read_preset(preset), nl=False)


@app.command()
def validate(
    file: Annotated[str, typer.Argument(help="A YAML file, a preset or a run directory.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Change a setting first; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check an experiment: every problem at once, each with its path and remedy."""
    from fedsafe.app import activate
    from fedsafe.experiment import load
    from fedsafe.runs.store import default_directory

    activate()
    experiment = load(file, changes or ())
    directory = default_directory(experiment)
    device, count = _memory(experiment)
    if as_json:
        found = {"valid": True, "name": experiment.name, "directory": str(directory)}
        typer.echo(json.dumps(found | ({"memory": {device: count}} if count else {})))
        return
    from fedsafe.cli.tables import console

    what = safe(Path(file).name)
    console().print(f"[green]{what} is valid.[/green] It would run in {safe(directory)}.")
    if count:
        console().print(f"A process that trains takes up to {count / 2**30:.1f} GiB on {device}.")


def _memory(experiment: "Experiment") -> tuple[str, int]:
    """Return the device and the bytes that training takes, if the model lies here; else 0."""
    if not Path(experiment.model.path).expanduser().is_dir():
        return "", 0
    from fedsafe.models.base import needed

    found = needed(
        experiment.model, experiment.adapter, experiment.training, experiment.data.max_length
    )
    return ("", 0) if found is None else (found[0], found[1].total)

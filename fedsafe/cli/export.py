"""``fedsafe export``: a run's records for other tools."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedsafe.cli.text import shown
from fedsafe.errors import ConfigError
from fedsafe.suggestions import suggestion

TABLES = ("jsonl", "csv", "parquet")
TRACKERS = ("tensorboard", "mlflow", "trackio", "wandb")
INSPECT = "inspect"
FORMS = (*TABLES, INSPECT, *TRACKERS)


def _installed(names: list[str] | None) -> list[str] | None:
    """Check trackers before anything is begun, or removed by --overwrite."""
    from fedsafe.integrations.trackers import check_installed

    for name in names or ():
        check_installed(name)
    return names


Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="TRACKER",
        callback=_installed,
        help=f"Log live: {', '.join(TRACKERS)}; repeatable.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    example = "fedsafe export runs/krum --to csv -o krum-tables"
    app.command(rich_help_panel="Look up", epilog=f"Example: {example}")(export)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    form: Annotated[str, typer.Option("--to", metavar="FORM", help=f"One of {', '.join(FORMS)}.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Where to; else RUN/exports/FORM."),
    ] = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Write prompts and replies, which may be harmful.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Write a run's records for other tools: tables, Inspect logs, experiment trackers.

    Nothing leaves the machine. Prompts and replies are withheld without --reveal.
    """
    from fedsafe.cli.directories import existing

    if form not in FORMS:
        raise ConfigError(
            f"--to {form}: there is no such form.{suggestion(form, list(FORMS))} There are "
            f"{', '.join(FORMS)}."
        )
    existing(run)
    if reveal and form in TRACKERS:
        raise ConfigError(f"--reveal: {form} gets numbers and settings alone, and no texts.")
    files = _written(run, form, output, reveal=reveal)
    if as_json:
        typer.echo(json.dumps({"form": form, "files": [str(path) for path in files]}))
        return
    for path in files:
        typer.echo(shown(path))


def _written(run: Path, form: str, output: Path | None, *, reveal: bool) -> list[Path]:
    from fedsafe.integrations.tracking import EXPORTS, export_to_tracker

    if form in TRACKERS:
        return [export_to_tracker(run, form, output)]
    target = output or run / EXPORTS / (f"{form}-revealed" if reveal else form)
    if target.is_file():
        raise ConfigError(f"{shown(target)} is a file. Choose a directory with -o.")
    if form == INSPECT:
        from fedsafe.integrations.inspect_logs import export_inspect_logs

        return export_inspect_logs(run, target, reveal=reveal)
    from fedsafe.integrations.tables import export_tables

    return export_tables(run, form, target, reveal=reveal)

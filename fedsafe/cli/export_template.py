"""``fedsafe export-template``: a defended adapter for servers that are not FedSafe."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedsafe.cli.shields import shields_of
from fedsafe.cli.text import shown


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    example = "fedsafe export-template runs/krum/adapter --shield ignore -o served"
    app.command(rich_help_panel="Do", epilog=f"Example: {example}")(export_template)


def export_template(
    adapter: Annotated[
        Path, typer.Argument(metavar="ADAPTER", help="Directory of a PEFT adapter.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Its base model: a directory or a hub name; else what it names itself."),
    ] = None,
    shield: Annotated[
        list[str] | None,
        typer.Option(
            "--shield",
            metavar="NAME[:k=v,...]",
            help="A shield beside the adapter's own; repeatable.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Write a whole model: base and adapter merged, tokenizer and template.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Write an adapter's shields as chat_template.jinja, which any server can be given.

    It lies beside the adapter, or with -o in a directory that holds the whole model. It holds a
    secret in the clear, so it is readable by its owner alone.
    """
    from fedsafe.app import activate
    from fedsafe.contracts import ShieldChoice
    from fedsafe.shields.served_model import export_beside, export_merged

    activate()
    chosen = [ShieldChoice(one.name, one.settings) for one in shields_of(shield or ())]
    if output is None:
        written = export_beside(adapter.expanduser(), model, chosen)
    else:
        written = export_merged(adapter.expanduser(), model, chosen, output.expanduser())
    typer.echo(json.dumps({"written": str(written)}) if as_json else shown(written))

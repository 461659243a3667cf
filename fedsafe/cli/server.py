"""``fedsafe server``: lead an experiment whose clients are on other machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from fedsafe.cli.command import finish, work
from fedsafe.cli.export import Log
from fedsafe.cli.runs import Changes, Json, Output
from fedsafe.cli.systemd import Systemd, unit
from fedsafe.cli.text import shown
from fedsafe.runs.layout import RunFile

if TYPE_CHECKING:
    from fedsafe.experiment import Experiment
    from fedsafe.runs.records import Summary


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    example = (
        "fedsafe server --experiment my.yaml --listen 0.0.0.0:8443 --tls certs --allow certs/allow"
    )
    app.command(rich_help_panel="Do", epilog=f"Example: {example}")(server)


def server(  # noqa: PLR0917 - each is an option of the command line
    experiment: Annotated[
        str, typer.Option("--experiment", help="A preset or a YAML file.")
    ] = "micro",
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where clients connect.")
    ] = "127.0.0.1:8443",
    tls: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of server.crt and server.key."),
    ] = None,
    allow: Annotated[
        Path | None,
        typer.Option(
            metavar="KEYS",
            help="Public keys of the clients: a directory of .pub files, or a file of lines.",
        ),
    ] = None,
    allow_fewer: Annotated[
        bool,
        typer.Option(
            "--allow-fewer",
            help="Start although --allow lists fewer keys than there are clients; keys that are "
            "added later take the free numbers.",
        ),
    ] = False,
    metrics: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, metavar="PORT", help="Serve Prometheus figures on 127.0.0.1:PORT."
        ),
    ] = None,
    systemd: Systemd = False,
    changes: Changes = None,
    output: Output = None,
    as_json: Json = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that is there.")
    ] = False,
    randomness: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Make the server's random draws from this file, as that of an earlier run.",
        ),
    ] = None,
    open_to_all: Annotated[
        bool,
        typer.Option(
            "--insecure-i-know", help="Listen publicly without TLS, keys or nginx all the same."
        ),
    ] = False,
    log: Log = None,
) -> None:
    """Lead an experiment over the network; clients join with `fedsafe client`.

    Given again after a stop, it goes on from the last complete round.
    """
    if systemd:
        typer.echo(unit("server", click.get_current_context()), nl=False)
        return
    from fedsafe.app import activate
    from fedsafe.deployment.server.plan import ServerOptions, plan
    from fedsafe.deployment.server.supervisor import serve
    from fedsafe.experiment import load
    from fedsafe.runs.store import default_directory

    activate()
    resolved = load(experiment, changes or ())
    directory = output or default_directory(resolved)
    if overwrite:
        _clear(directory)
    elif (summary := _completed(directory, resolved)) is not None:
        if not as_json:
            typer.echo(f"{shown(directory)} holds this experiment, completed; nothing to run.")
        finish(directory, summary, as_json=as_json)
        return
    asked = ServerOptions(listen, tls, allow, randomness, open=open_to_all, fewer=allow_fewer)
    planned = plan(resolved, directory, asked)
    work(
        directory,
        lambda hear: serve(planned, hear, metrics=metrics),
        as_json=as_json,
        again="the same command",
        log=log,
    )


def _completed(directory: Path, experiment: "Experiment") -> "Summary | None":
    """Return the summary of a run of this experiment that is done.

    Raises:
        RunError: The directory holds something else.
    """
    from fedsafe.runs.store import Store

    store = Store(directory)
    store.check(experiment)
    summary = store.summary()
    return summary if summary is not None and summary.status == "completed" else None


def _clear(directory: Path) -> None:
    """Remove the run that is there, unless a server is at work on it."""
    from fedsafe.cli import directories
    from fedsafe.deployment.server.plan import claim

    if (directory / RunFile.EXPERIMENT).is_file():
        with claim(directory):
            directories.clear(directory)

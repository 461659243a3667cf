"""``fedsafe certs``: certificates and keys of a deployment, made and looked at."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedsafe.cli.text import safe, shown

app = typer.Typer(
    help="Make certificates and keys for separate machines, and look at them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command(epilog="Example: fedsafe certs init --host fl.example.org --host 10.0.0.5")
def init(
    hosts: Annotated[
        list[str],
        typer.Option(
            "--host", help="Name or address by which clients reach the server; repeatable."
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where they go.")
    ] = Path("certs"),
    clients: Annotated[int, typer.Option(min=1, help="Key pairs, one a client.")] = 4,
    days: Annotated[int, typer.Option(min=1, help="Validity of the server's certificate.")] = 365,
    as_json: Json = False,
) -> None:
    """Make an authority, a server certificate and a key pair for each client.

    Nothing is overwritten: given again, it adds what is missing.
    """
    from fedsafe.deployment.server import certs

    made = certs.init(output, hosts, clients, days)
    if as_json:
        told = {"directory": str(output), "written": made.written, "kept": made.kept}
        typer.echo(json.dumps(told, default=str))
        return
    from fedsafe.cli.tables import console, pairs

    here = safe(shown(output))
    kept = f", {len(made.kept)} were there and stay" if made.kept else ""
    console().print(f"{len(made.written)} files written to {here}{kept}.\n")
    pairs(
        [
            (f"{here}/{certs.SERVER}, {certs.SERVER_KEY}", "stay on the server: --tls"),
            (f"{here}/{certs.ALLOW}/", "stays on the server: --allow; its order numbers clients"),
            (f"{here}/{certs.CA}", "to every client: --tls"),
            (f"{here}/{certs.KEYS}/nodeN", "to client N alone: --key; then remove it here"),
            (f"{here}/{certs.CA_KEY}", "away from the network; needed only for new certificates"),
        ]
    )


@app.command(epilog="Example: fedsafe certs check certs")
def check(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="As --tls of a server.")],
    as_json: Json = False,
) -> None:
    """Look at a server's certificate: its hosts, its end, whether its key fits and is closed."""
    from fedsafe.deployment.server import certs

    health = certs.check(directory)
    if as_json:
        told = {"hosts": health.hosts, "days": health.days, "signed": health.signed}
        typer.echo(json.dumps({**told, "problems": health.problems}))
    else:
        from fedsafe.cli.tables import console, pairs

        signer = f"{certs.CA} beside it" if health.signed else f"not the {certs.CA} beside it"
        pairs(
            [
                ("hosts", ", ".join(health.hosts)),
                ("valid for", f"{health.days} days"),
                ("signed by", signer),
            ]
        )
        for problem in health.problems:
            console().print(f"[yellow]{safe(problem)}[/yellow]")
    if health.days < 0:
        raise typer.Exit(1)

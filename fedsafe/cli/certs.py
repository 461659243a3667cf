"""``fedsafe certs``: make, renew and check certificates; add, revoke and restore clients' keys."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedsafe.cli.text import safe, shown

app = typer.Typer(
    help="Certificates and client keys for separate machines: make, renew, add, revoke, check.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Made = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="DIR", help="Directory that `certs init` made."),
]
List = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="DIR", help="Directory of `certs init`, or an allow list."
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The client, as the allow list says.")]
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
    from fedsafe.deployment.server import certs, client_keys

    written = certs.init(output, hosts, clients, days)
    if as_json:
        record = {"directory": str(output), "written": written.written, "kept": written.kept}
        record |= {"removed": written.removed}
        typer.echo(json.dumps(record, default=str))
        return
    from fedsafe.cli.tables import console, pairs

    here = safe(shown(output))
    unchanged = f", {len(written.kept)} were there and stay" if written.kept else ""
    console().print(f"{len(written.written)} files written to {here}{unchanged}.\n")
    for name in written.removed:
        console().print(f"{safe(name)} was removed from the allow list, and is not made again.")
    pairs(
        [
            (f"{here}/{certs.SERVER}, {certs.SERVER_KEY}", "stay on the server: --tls"),
            (
                f"{here}/{client_keys.ALLOW}/",
                "stays on the server: --allow; its order numbers clients",
            ),
            (f"{here}/{certs.CA}", "to every client: --tls"),
            (f"{here}/{client_keys.KEYS}/nodeN", "to client N alone: --key; then remove it here"),
            (f"{here}/{certs.CA_KEY}", "away from the network; needed only for new certificates"),
        ]
    )


@app.command(epilog="Example: fedsafe certs add node4 --public node4.pub")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the new client is called.")],
    public: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its own public key; without it a pair is made."),
    ] = None,
    output: Made = Path("certs"),
) -> None:
    """Add a client's key to the allow list; a running server lets it in within seconds."""
    from fedsafe.deployment.server import client_keys

    written = client_keys.add(output, name, public)
    for path in written.written:
        typer.echo(f"{shown(path)} written")
    typer.echo(f"'{name}' may join. It takes a free number of the experiment's clients, if any.")


@app.command(epilog="Example: fedsafe certs revoke node1")
def revoke(name: Name, output: List = Path("certs")) -> None:
    """Disable a client's key in place: it keeps its number, and is refused within seconds."""
    from fedsafe.deployment.server import client_keys

    new = client_keys.revoke(output, name)
    said = "is revoked: running servers refuse it within seconds" if new else "was revoked already"
    typer.echo(f"'{name}' {said}. `fedsafe certs restore {name}` takes that back.")


@app.command(epilog="Example: fedsafe certs restore node1")
def restore(name: Name, output: List = Path("certs")) -> None:
    """Enable a revoked or removed client's key again, with the number that it had."""
    from fedsafe.deployment.server import client_keys

    new = client_keys.restore(output, name)
    typer.echo(f"'{name}' {'may take part again' if new else 'was not revoked'}.")


@app.command(epilog="Example: fedsafe certs renew --days 365")
def renew(
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", help="Another name or address that it is to be valid for."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="Validity from now on.")] = 365,
    output: Made = Path("certs"),
) -> None:
    """Sign the server's certificate anew; a running server takes it without a stop."""
    from fedsafe.deployment.server import certs

    end = certs.renew(output, hosts or [], days).not_valid_after_utc
    typer.echo(f"{shown(output / certs.SERVER)} is valid until {end:%Y-%m-%d}.")
    typer.echo("A running server takes it within seconds; clients need nothing new.")


@app.command(epilog="Example: fedsafe certs check certs")
def check(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="As --tls of a server.")],
    as_json: Json = False,
) -> None:
    """Look at a server's certificate: its hosts, its end, whether its key fits and is closed."""
    from fedsafe.deployment.server import certs

    health = certs.check(directory)
    if as_json:
        record = {"hosts": health.hosts, "days": health.days, "signed": health.signed}
        typer.echo(json.dumps({**record, "problems": health.problems}))
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

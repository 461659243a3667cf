"""Options of `fedsafe client`: their types, names and help texts."""

from pathlib import Path
from typing import Annotated

import typer

Server = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where `fedsafe server` listens.")]
Authority = Annotated[
    Path | None, typer.Option(metavar="FILE", help="ca.crt, which the server is checked by.")
]
Keys = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="This client's private key; repeat for more clients."),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        envvar="FEDSAFE_CLIENT_DATA",
        help="Its own data, or a source as NAME:key=value,...; repeat in step with --key. "
        "Without it: the experiment's source.",
    ),
]
BaseModel = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        envvar="FEDSAFE_CLIENT_MODEL",
        help="Where the base model lies on this machine.",
    ),
]
StartAdapter = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Copy of the server's adapter.start, if it is merged."),
]
Gpu = Annotated[
    str | None, typer.Option(metavar="N", help="GPU of this machine that the trainer uses.")
]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="cpu or cuda, whatever the experiment says.")
]
Rank = Annotated[
    int | None,
    typer.Option(min=1, metavar="R", help="Train an adapter of lower rank; sent with zeros."),
]
TrainerSocket = Annotated[
    Path | None,
    typer.Option(metavar="SOCKET", help="Use the trainer of another `fedsafe client` here."),
]
StateDirectory = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Logs and private files; default ~/.fedsafe/clients."),
]
RedTeam = Annotated[
    bool, typer.Option("--red-team", help="Take part as an attacker, where that is declared.")
]
Behaviour = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What the attacker does: `fedsafe plugins list`."),
]
Generator = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Where its examples come from; default: experiment's."),
]
ConductSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="k=v", help="behaviour.KEY=VALUE or generator.KEY=VALUE; repeatable."
    ),
]
Contaminated = Annotated[
    bool,
    typer.Option(
        "--contaminated", help="Be honest, and let a red team put malicious examples into its data."
    ),
]
Collude = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Directory in which the attackers share their updates."),
]
ColludeWait = Annotated[
    float, typer.Option(min=1, metavar="SECONDS", help="How long it waits there for the others.")
]
PluginPaths = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODULE:OBJECT",
        help="Installed code that the server's experiment may name by its path; repeatable.",
    ),
]
Once = Annotated[bool, typer.Option("--once", help="Leave when the server's rounds are over.")]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="No TLS and no key: for trials, with --number.")
]
Numbers = Annotated[
    list[int] | None,
    typer.Option(min=0, help="This client's number, where the server asks for no key."),
]
EventJson = Annotated[bool, typer.Option("--json", help="Print a JSON line for each event.")]

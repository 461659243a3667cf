"""``fedsafe client``: take part in a federation from this machine, with its own data and GPU."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import typer

from fedsafe.cli import client_options as option
from fedsafe.cli.systemd import Systemd, unit
from fedsafe.cli.text import Interrupted, plain
from fedsafe.errors import ConfigError

if TYPE_CHECKING:
    from fedsafe.deployment.client.identity import Identity
    from fedsafe.deployment.client.machine import ClientOptions
    from fedsafe.experiment.schema import PluginChoice
    from fedsafe.runs.events import Event

WIDTH = 10
"""Columns for a client's name."""


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    example = "fedsafe client --server fl.example.org:8443 --tls ca.crt --key node0 --data my.jsonl"
    app.command(rich_help_panel="Do", epilog=f"Example: {example}")(client)


def client(  # noqa: PLR0917 - each is an option of the command line
    server: option.Server,
    tls: option.Authority = None,
    key: option.Keys = None,
    data: option.Data = None,
    model: option.BaseModel = None,
    start_adapter: option.StartAdapter = None,
    gpu: option.Gpu = None,
    device: option.Device = None,
    rank: option.Rank = None,
    trainer: option.TrainerSocket = None,
    state: option.StateDirectory = None,
    red_team: option.RedTeam = False,
    behaviour: option.Behaviour = None,
    generator: option.Generator = None,
    changes: option.ConductSettings = None,
    contaminated: option.Contaminated = False,
    collude: option.Collude = None,
    collude_wait: option.ColludeWait = 300.0,
    plugin: option.PluginPaths = None,
    once: option.Once = False,
    insecure: option.Insecure = False,
    number: option.Numbers = None,
    systemd: Systemd = False,
    as_json: option.EventJson = False,
) -> None:
    """Take part in a federation: keep a trainer with the base model, and answer the server.

    Runs until it is stopped with Ctrl-C, or with --once until the server's rounds are over;
    whatever dies meanwhile is started again.
    """
    if systemd:
        typer.echo(unit("client", click.get_current_context()), nl=False)
        return
    from fedsafe.deployment.client import identity, options, state_dir
    from fedsafe.deployment.client.machine import ClientOptions

    if insecure == (tls is not None):
        raise ConfigError("Give --tls ca.crt, or --insecure for a trial without TLS; not both.")
    given = (behaviour, generator, changes or [])
    options.check_red_team(red_team, contaminated, *given, collude)
    conduct = options.read_conduct(*given)
    visible, chosen = options.read_device(gpu, device, trainer)
    identities = _identities(key or [], number or [], insecure)
    client_options = ClientOptions(
        server=identity.Address.parse(server),
        authority=None if tls is None else identity.check_authority(tls),
        identities=identities,
        state=(state or state_dir.home()).expanduser().absolute(),
        data=_data(data or [], len(identities)),
        model=None if model is None else options.check_model(model),
        start_adapter=options.check_adapter(start_adapter),
        device=chosen,
        gpu=visible,
        rank=rank,
        trainer=None if trainer is None else trainer.expanduser().absolute(),
        behaviour=conduct[0],
        contaminated=contaminated,
        generator=conduct[1],
        collude=None if collude is None else options.check_collude(collude, len(identities)),
        collude_wait=collude_wait,
        plugins=options.read_plugins(plugin or []),
        once=once,
    )
    _run(client_options, as_json=as_json)


def _run(wanted: "ClientOptions", *, as_json: bool) -> None:
    from fedsafe.deployment.client import machine as runtime

    try:
        runtime.run(wanted, _write_json if as_json else _write_line)
    except KeyboardInterrupt:
        raise Interrupted("this machine has left the federation; nothing runs on.") from None
    if not as_json:
        typer.echo("The server's rounds are over: this machine has left the federation.")


def _identities(
    keys: Sequence[Path], numbers: Sequence[int], insecure: bool
) -> "tuple[Identity, ...]":
    """Return who the clients are: each its key, or each its number."""
    from fedsafe.deployment.client.identity import numbered, read_identity

    if keys and insecure:
        raise ConfigError("--insecure: keys are proven over TLS only. Give --number, not --key.")
    if bool(keys) == bool(numbers):
        raise ConfigError(
            "Give --key with this client's private key, or --number where the server asks for no "
            "keys; not both."
        )
    identities = tuple(map(read_identity, keys)) or tuple(map(numbered, numbers))
    names = [one.short for one in identities]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ConfigError(f"{identities[index].name} is given twice. Each client has its own.")
    return identities


def _data(texts: Sequence[str], clients: int) -> "tuple[PluginChoice, ...]":
    from fedsafe.deployment.client.options import read_data

    if texts and len(texts) != clients:
        raise ConfigError(
            f"--data is given {len(texts)} times for {clients} clients. Give it once for each, in "
            "the order of the keys, or not at all."
        )
    return tuple(map(read_data, texts))


def _write_line(event: "Event") -> None:
    """Print what happened, a line with the time and the client."""
    name = plain(str(event.data.get("name", "")))
    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    typer.echo(f"{clock}  {name:<{WIDTH}}  {' '.join(plain(event.message).split())}")


def _write_json(event: "Event") -> None:
    line: dict[str, Any] = {"time": round(event.time, 3), "kind": event.kind}
    typer.echo(json.dumps({**line, "message": event.message, **event.data}, default=str))

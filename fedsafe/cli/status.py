"""``fedsafe status``: how a run and its clients are doing, while it runs and after."""

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsafe.cli.text import safe, shown
from fedsafe.errors import ConfigError

if TYPE_CHECKING:
    from fedsafe.deployment.server.status import ClientStatus, RunStatus


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(rich_help_panel="Look up", epilog="Example: fedsafe status runs/my")(status)


def status(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A run directory; left out: --server.")
    ] = None,
    server: Annotated[
        bool, typer.Option("--server", help="Every server of yours that runs on this machine.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show who is connected, the round, whom it waits for, and who dropped out and why."""
    from fedsafe.deployment.server.status import read_status, servers

    if run is not None and server:
        raise ConfigError("Give a run directory or --server, not both.")
    statuses = [read_status(one) for one in (servers() if run is None else [run])]
    if as_json:
        rows = [dataclasses.asdict(one) for one in statuses]
        typer.echo(json.dumps(rows if run is None else rows[0], default=str))
        return
    if not statuses:
        typer.echo("No server of yours runs on this machine. Give a run directory.")
    for one in statuses:
        _show(one)


def _show(found: "RunStatus") -> None:
    from fedsafe.cli.tables import console, pairs

    where = f", listening on {found.address}" if found.address else ""
    reason = f": {found.reason}" if found.reason else ""
    names = {one.client: one.name for one in found.clients}
    awaited = ", ".join(_name(n, names.get(n, "")) for n in found.waiting)
    which = "control round" if found.federation == "control" else "round"
    lines = [("run", shown(found.directory)), ("state", found.state + where + reason)]
    if found.stage:
        lines.append(("stage", found.stage))
    if found.rounds:
        lines.append((which, f"{found.round} of {found.rounds}"))
    if awaited:
        lines.append(("waits for", awaited))
    if found.certificate_days is not None:
        lines.append(("certificate", f"valid for {found.certificate_days} days"))
    pairs(lines)
    for one in found.clients:
        console().print("  " + safe(_client(one)), highlight=False)


def _client(one: "ClientStatus") -> str:
    """Return a client's line."""
    state = {True: "connected", False: "away", None: ""}[one.connected]
    parts = ["revoked" if one.revoked else state]
    if one.seen is not None and not one.connected:
        parts.append(f"last seen {ago(time.time() - one.seen)} ago")
    if one.behaviour:
        parts.append(f"attacker ({one.behaviour})")
    parts += [f"{count} {outcome}" for outcome, count in sorted(one.replies.items())]
    if one.last and not one.last.startswith("accepted"):
        parts.append(f"last round {one.last}")
    return f"{_name(one.client, one.name):<16}  {', '.join(filter(None, parts)) or 'not seen yet'}"


def _name(number: int, name: str) -> str:
    return f"{number} ({name})" if name else str(number)


def ago(seconds: float) -> str:
    """Return a time that has passed, in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"

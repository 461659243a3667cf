"""A systemd unit that starts a command as it was given, printed by ``--systemd``."""

import getpass
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from click.core import ParameterSource

Systemd = Annotated[
    bool,
    typer.Option("--systemd", help="Print a systemd unit of this command, and start nothing."),
]
UNIT = """\
# fedsafe {kind} --systemd wrote this. Put it into /etc/systemd/system/fedsafe-{kind}.service, then:
#   systemctl daemon-reload && systemctl enable --now fedsafe-{kind}
#   systemctl status fedsafe-{kind}; journalctl -u fedsafe-{kind}
[Unit]
Description=FedSafe {kind}
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={user}
WorkingDirectory={directory}
ExecStart={command}
Environment=PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
# 2: what was asked for is wrong, and would be wrong again. 130: it was told to stop.
Restart=on-failure
RestartSec=10
RestartPreventExitStatus=2
SuccessExitStatus=130
KillMode=mixed
TimeoutStopSec=60
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
# The most memory that it and all its processes may take; it counts with this limit.
#MemoryMax=16G

[Install]
WantedBy=multi-user.target
"""


def unit(kind: str, context: click.Context) -> str:
    """Return the unit of a command with the options that it was given.

    Args:
        kind: server or client.
        context: The command as it was parsed; paths in it become absolute.
    """
    words = [sys.executable, "-m", "fedsafe", kind, *_options(context)]
    return UNIT.format(
        kind=kind,
        user=getpass.getuser(),
        directory=_escaped(str(Path.cwd())),
        command=" ".join(map(_quoted, words)),
    )


def _options(context: click.Context) -> Iterator[str]:
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or name == "systemd":
            continue
        value = context.params[name]
        option = max(parameter.opts, key=len)
        for one in value if isinstance(value, list | tuple) else [value]:
            yield option
            if one is not True:
                yield _absolute(one)


def _absolute(value: Any) -> str:
    """Return a value as it holds in any directory: files and paths with their whole path."""
    text = str(value)
    path = Path(text).expanduser()
    return str(path.absolute()) if isinstance(value, Path) or path.exists() else text


def _escaped(text: str) -> str:
    """Return a text in which systemd finds no specifier of its own."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Return a word of a command line as systemd reads it."""
    plain = _escaped(word).replace("$", "$$")
    if plain and all(c.isalnum() or c in "-_./:=,@+" for c in plain):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

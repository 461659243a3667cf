"""CLI entry point: the typer app, and conversion of errors to messages and exit codes."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import click
import typer

from fedsafe.cli import (
    acceptance,
    align,
    certs,
    client,
    compare,
    config,
    data,
    export,
    export_template,
    generate,
    lm_eval,
    matrix,
    model,
    plugins,
    run_directories,
    runs,
    server,
    status,
    watch,
)
from fedsafe.cli.text import Interrupted, plain
from fedsafe.errors import ConfigError, DataError, FedSafeError, PluginError

USAGE = (ConfigError, DataError, PluginError)
"""Errors of what was asked for, rather than of what was done."""

app = typer.Typer(
    name="fedsafe",
    help="Federated instruction tuning under attack, measured and defended.",
    epilog="Start with: fedsafe run micro --dry-run",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
runs.register(app)
align.register(app)
acceptance.register(app)
generate.register(app)
export.register(app)
server.register(app)
client.register(app)
status.register(app)
compare.register(app)
watch.register(app)
export_template.register(app)
lm_eval.register(app)
app.add_typer(matrix.app, name="matrix", rich_help_panel="Do")
app.add_typer(certs.app, name="certs", rich_help_panel="Do")
app.add_typer(model.app, name="model", rich_help_panel="Do")
app.add_typer(run_directories.app, name="runs", rich_help_panel="Look up")
app.add_typer(plugins.app, name="plugins", rich_help_panel="Look up")
app.add_typer(config.app, name="config", rich_help_panel="Look up")
app.add_typer(data.app, name="data", rich_help_panel="Look up")


def _version(wanted: bool) -> None:
    if wanted:
        from fedsafe import __version__

        typer.echo(f"fedsafe {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; allowed anywhere.")
    ] = False,
) -> None:
    """Federated instruction tuning under attack, measured and defended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done. 1: it failed. 2: what was asked for is wrong. 130: interrupted. With ``--json``
    an error is one JSON object on standard output, in place of a sentence on standard error.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    wanted = [argument for argument in given if argument != "--debug"]
    try:
        return _invoke(wanted)
    except Interrupted as stop:
        return _complain(given, str(stop), 130, kind="interrupted")
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone: nobody is left to tell
        return 1
    except FedSafeError as error:
        if "--debug" in given:
            raise
        problems = getattr(error, "problems", ())
        return _complain(given, str(error), 2 if isinstance(error, USAGE) else 1, problems)
    except Exception as error:
        if "--debug" in given:
            raise
        sentence = f"{_unexpected(error)} Run it again with --debug to see where."
        return _complain(given, sentence, 1)


def _invoke(arguments: list[str]) -> int:
    """Run the app; what it could not parse is shown in click's own words."""
    try:
        code: Any = app(arguments, prog_name="fedsafe", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 0
    except click.ClickException as error:
        sentence = f"{_once(error.format_message())} {_where(error)}".strip()
        return _complain(arguments, sentence, error.exit_code)
    except click.Abort:
        return _complain(arguments, "nothing was begun.", 130, kind="interrupted")
    return code if isinstance(code, int) else 0


def _where(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"See `{context.command_path} --help`." if context is not None else ""


def _unexpected(error: Exception) -> str:
    said = str(error).strip().splitlines()
    detail = f": {said[0].rstrip('.')}" if said else ""
    return f"something unforeseen happened, {type(error).__name__}{detail}."


def _once(message: str) -> str:
    """Leave out a suggestion that typer and click both make."""
    again = r"(?:\1| \(Did you mean one of: [^?]*\?\))+"
    return re.sub(r"( Did you mean [^?]*\?)" + again, r"\1", message)


def _complain(
    arguments: Sequence[str],
    message: str,
    code: int,
    problems: Sequence[tuple[str, str]] = (),
    *,
    kind: str = "error",
) -> int:
    """Print an error (text on stderr, or JSON on stdout) and return the exit code."""
    if "--json" in arguments and kind == "error":
        listed = [{"path": path, "message": text} for path, text in problems]
        record = {"kind": "error", "message": message, "code": code, "problems": listed}
        typer.echo(json.dumps(record))
        return code
    label = typer.style(f"{kind}:", fg="red" if kind == "error" else "yellow", bold=True)
    typer.echo(f"{label} {plain(message)}", err=True)
    return code

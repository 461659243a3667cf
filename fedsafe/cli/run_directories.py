"""``fedsafe runs``: list, look at and remove run directories."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsafe.cli.status import ago
from fedsafe.cli.text import safe, shown
from fedsafe.errors import ConfigError
from fedsafe.runs.layout import RunFile

if TYPE_CHECKING:
    from fedsafe.runs.run_list import FoundRun

app = typer.Typer(
    help="List, show and remove runs.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COLORS = {"completed": "green", "running": "cyan", "failed": "red"}
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("list", epilog="Example: fedsafe runs list runs")
def list_runs(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where to look, three directories deep.")
    ] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List runs with state, experiment, seed, refusal from stage to stage, size and age."""
    from fedsafe.runs.run_list import find_runs, look

    found = [look(one) for one in find_runs(directory)]
    if as_json:
        typer.echo(json.dumps([one.plain() for one in found]))
        return
    if not found:
        typer.echo(f"There is no run in {shown(directory)}. Start one: fedsafe run micro")
        return
    _table(found)


@app.command(epilog="Example: fedsafe runs show runs/krum")
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run, or a directory of seeds.")],
    as_json: Json = False,
) -> None:
    """Show one run: where it stands, every measure of every stage, the verdict."""
    from fedsafe.cli.directories import existing
    from fedsafe.report import is_seeds_directory
    from fedsafe.runs.run_list import look

    if is_seeds_directory(run):
        _show_seeds(run, as_json=as_json)
        return
    found = look(existing(run))
    if as_json:
        typer.echo(json.dumps(found.plain()))
        return
    from fedsafe.cli.tables import before_after, pairs, places
    from fedsafe.runs.store import Store

    pairs(_facts(found))
    summary = None if found.problem else Store(run).summary()
    if summary is None:
        typer.echo("Nothing has been evaluated yet.")
        return
    before_after(summary, run)
    page = run / RunFile.REPORT
    places(run, page if page.is_file() else None, summary.seconds)


@app.command(epilog="Example: fedsafe runs rm runs/krum --yes")
def rm(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs, or directories of seeds.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove runs, after asking.

    What is no run, is running, or holds files that no run writes is left alone.
    """
    from fedsafe.runs.run_list import look, removable, remove

    found = [look(one) for given in runs for one in removable(given)]
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise ConfigError("Nobody can be asked here. Give --yes to remove without asking.")
        _table(found)
        what = "this run" if len(found) == 1 else f"these {len(found)} runs"
        typer.confirm(f"Remove {what} for good?", abort=True)
    for given in runs:
        remove(given)
    if as_json:
        typer.echo(json.dumps({"removed": [one.directory for one in found]}))
        return
    for one in found:
        typer.echo(f"removed {shown(Path(one.directory))}")


def _show_seeds(directory: Path, *, as_json: bool) -> None:
    from fedsafe.cli.seeds import show as show_seeds
    from fedsafe.runs.checksums import read_sealed
    from fedsafe.runs.seed_records import FILE, SeedSummary

    summary = SeedSummary.model_validate(read_sealed(directory / FILE))
    if as_json:
        typer.echo(json.dumps(summary.plain()))
    else:
        show_seeds(summary)


def _facts(found: "FoundRun") -> list[tuple[str, str]]:
    from fedsafe.report.measures import size

    reason = f": {found.problem or found.reason}" if found.problem or found.reason else ""
    return [
        ("run", shown(Path(found.directory))),
        ("state", found.state + reason),
        ("experiment", found.experiment or "cannot be read"),
        ("seed", "" if found.seed is None else str(found.seed)),
        ("size", size(found.bytes)),
        ("last change", f"{ago(time.time() - found.changed)} ago"),
    ]


def _table(found: "list[FoundRun]") -> None:
    from fedsafe.cli.tables import console, plain_table
    from fedsafe.report.measures import size

    table = plain_table()
    for heading in ("run", "state", "experiment", "seed", "refusal"):
        table.add_column(heading, overflow="fold")
    for heading in ("size", "age"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        color = COLORS.get(one.state, "yellow")
        table.add_row(
            safe(shown(Path(one.directory))),
            f"[{color}]{one.state}[/{color}]",
            safe(one.experiment),
            "" if one.seed is None else str(one.seed),
            safe(_headline(one)),
            size(one.bytes),
            ago(time.time() - one.changed),
        )
    console().print(table)


def _headline(found: "FoundRun") -> str:
    """Return refusal from stage to stage, each under its name; or what is wrong."""
    from fedsafe.report.defenses import PREFIX
    from fedsafe.report.measures import percent
    from fedsafe.report.verdict import refusal

    if found.problem:
        return "records cannot be read"
    told = []
    for stage in found.stages:
        rate = refusal(stage) if stage.status == "done" else None
        value = "failed" if stage.status == "failed" else percent(rate.value) if rate else "–"  # noqa: RUF001
        told.append(f"{stage.name.removeprefix(PREFIX)} {value}")
    return ", ".join(told) or found.reason

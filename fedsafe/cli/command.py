"""Shared body of the run commands: progress display, then table, report and paths."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fedsafe.cli.text import Interrupted, shown
from fedsafe.errors import FedSafeError
from fedsafe.runs.layout import RunFile

if TYPE_CHECKING:
    from fedsafe.experiment import Experiment
    from fedsafe.runs.events import Listener
    from fedsafe.runs.records import Summary


def inline() -> Any:
    """Import the in-process runtime, which is heavy, only when there is work for it."""
    from fedsafe.launch import inline as runtime

    return runtime


def work(
    directory: Path,
    task: "Callable[[Listener], Summary]",
    *,
    as_json: bool,
    again: str = "",
    log: Sequence[str] | None = None,
) -> "Summary":
    """Run a command's task with a progress display, show its results, return the summary.

    Raises:
        ConfigError: ``log`` names no tracker.
        MissingDependencyError: It names one that is not installed.
        Interrupted: The user stopped it; the message says how to go on.
        Exit: The run failed, which is exit code 1.
    """
    try:
        with listening(log, None, as_json=as_json) as listen:
            summary = task(listen)
    except FedSafeError:
        _draw_what_there_is(directory)
        raise
    except KeyboardInterrupt:
        _draw_what_there_is(directory)
        raise Interrupted(_how_to_go_on(directory, again)) from None
    finish(directory, summary, as_json=as_json)
    if summary.status == "failed":
        raise typer.Exit(1)
    return summary


@contextlib.contextmanager
def listening(
    log: Sequence[str] | None, store: Path | None, *, as_json: bool
) -> "Iterator[Listener]":
    """Yield a listener that shows events, and hands them to the trackers of ``--log``.

    Args:
        log: Trackers by name; none are looked at without it.
        store: Directory of what they write; None: ``exports`` in the run's directory.
        as_json: Whether events are shown as JSON lines.
    """
    from fedsafe.cli.console import display

    with display(as_json=as_json) as listen:
        if not log:
            yield listen
            return
        from fedsafe.integrations.tracking import LiveTracking

        tracking = LiveTracking(log, store, listen)
        try:
            yield tracking
        finally:
            tracking.close()


def _how_to_go_on(directory: Path, again: str) -> str:
    """Return the command that continues an interrupted run."""
    if not (directory / RunFile.EXPERIMENT).is_file():
        return "nothing was begun. Give the same command again."
    return f"what is done is kept. Go on with {again or f'`fedsafe resume {shown(directory)}`'}."


def _draw_what_there_is(directory: Path) -> None:
    """Draw the report of a failed run; an error here must not hide the first one."""
    from fedsafe.report import write

    with contextlib.suppress(FedSafeError, OSError):
        write(directory)


def finish(directory: Path, summary: "Summary", *, as_json: bool) -> None:
    """Show the table, draw the report, say where both are."""
    from fedsafe.report import write

    if as_json:
        page = write(directory)
        record = {
            **summary.model_dump(mode="json"),
            "directory": str(directory),
            "report": str(page),
        }
        typer.echo(json.dumps({"kind": "summary", **record}))
        return
    from fedsafe.cli.tables import before_after, places

    before_after(summary, directory)
    places(directory, write(directory), summary.seconds)


def show_experiment(experiment: "Experiment", directory: Path, *, as_json: bool) -> None:
    """Print a resolved experiment and where it would run."""
    from fedsafe.experiment.load import as_yaml

    if as_json:
        record = {"directory": str(directory), "experiment": json.loads(experiment.as_json())}
        typer.echo(json.dumps(record))
    else:
        typer.echo(f"# would run in {directory}\n{as_yaml(experiment)}", nl=False)
